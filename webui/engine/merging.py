"""Writes merged, converted and pruned checkpoints: planned as a whole, written tensor by tensor, named when they are complete."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from safetensors import SafetensorError

from webui.core.errors import InvalidRequest, ModelError
from webui.core.events import Cancelled, EngineEvent, Finished, Progress, Remark
from webui.core.files import check_room, publish, sweep, write_atomically
from webui.core.ports import MergeWork
from webui.engine.extras import Orders
from webui.engine.merge_plan import MergePlan
from webui.engine.tensor_writing import write_tensors

SECONDS_A_CRASH_IS_KEPT = 24 * 3600.0
DIGITS = 16
_ENDING = ".merging"


def merge(work: MergeWork, orders: Orders) -> Iterator[EngineEvent]:
    """Do a job; ends with Finished or Cancelled. Without Finished, no file is left.  Raises InvalidRequest, ModelError."""
    folder = work.target.parent
    try:
        plan = MergePlan(work)
        check_room(folder, plan.size)
        _check_config(work, plan)
        sweep(folder, f".{'?' * DIGITS}{_ENDING}", seconds=SECONDS_A_CRASH_IS_KEPT)
        # By the job's id: when a crash has left it, the job begins anew in it.
        temporary = folder / f".{hashlib.sha256(work.job_id.encode()).hexdigest()[:DIGITS]}{_ENDING}"
        try:
            written = yield from _write(plan, temporary, orders)
            if written:
                _publish(work, plan, temporary)
        finally:
            temporary.unlink(missing_ok=True)
    except SafetensorError as error:
        raise ModelError(f"A model cannot be read any more ({error}). Try again when nothing writes to the models.") from None
    except OSError as error:
        raise ModelError(f"{work.target.name} cannot be written: {error.strerror}.") from None
    if not written:
        yield Cancelled()
        return
    yield from (Remark(text) for text in plan.remarks)
    if plan.overflown:
        yield Remark(f"{len(plan.overflown)} tensors hold numbers too large for float16, which became infinite ({plan.overflown[0]}, ...).")
    yield Remark(f"Saved as {work.target.name} ({plan.size / 1e9:.2f} GB).")
    yield Finished()


def _write(plan: MergePlan, temporary: Path, orders: Orders) -> Generator[EngineEvent, None, bool]:
    """Returns False when the job was cancelled."""
    began, done, total = time.monotonic(), 0, max(1, plan.size)
    if orders.cancelled.is_set():
        return False
    with temporary.open("wb") as file:
        for number, one in enumerate(write_tensors(file, plan.tensors, plan.metadata), 1):
            if orders.cancelled.is_set():
                return False
            done += one.size
            fraction = done / total
            eta = (time.monotonic() - began) * (1 - fraction) / fraction if fraction else 0.0
            yield Progress(0, 1, number, len(plan.tensors), fraction, eta)
        file.flush()
        os.fsync(file.fileno())
    return True


def _check_config(work: MergeWork, plan: MergePlan) -> None:
    """Raises InvalidRequest for a .yaml that lies where the result's would: it would be taken for a word on the result."""
    config = work.target.with_suffix(".yaml")
    if config.exists() and not (work.request.overwrite and plan.config_file_source):
        raise InvalidRequest(
            f"There is already a {config.name}, which would be read for {work.target.name}. Give another name, or remove it."
        )


def _publish(work: MergeWork, plan: MergePlan, temporary: Path) -> None:
    """Give the file its name, and the configuration that belongs to it one like it."""
    for model in plan.models:
        model.check_unchanged()
    _check_config(work, plan)
    target, config = work.target, work.target.with_suffix(".yaml")
    source = plan.config_file_source
    if source and source.config_file:
        write_atomically(config, source.config_file.read_bytes())
    try:
        if work.request.overwrite:
            temporary.replace(target)
        elif not publish(temporary, target):
            raise InvalidRequest(f"There is already a {target.name}. Give another name, or allow it to be replaced.")
    except BaseException:
        if source:
            config.unlink(missing_ok=True)
        raise
