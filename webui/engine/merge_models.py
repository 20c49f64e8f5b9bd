"""The checkpoints of a merge as the merge sees them: their weights by name, with averages taken, dropped or kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from webui.catalog.diffusers_folder import size_and_time
from webui.core.errors import ModelError
from webui.core.model_jobs import DROP_AVERAGES, KEEP_AVERAGES, USE_AVERAGES
from webui.core.model_paths import stem_of
from webui.core.ports import MergeSource
from webui.engine.families.prediction import MAX_SIDECAR, V_MARKER, ZERO_SNR_MARKER
from webui.engine.loading import TensorFile, file_version

AVERAGES = "model_ema."
TRAINED = "model."
MARKERS = (V_MARKER, ZERO_SNR_MARKER)
# Metadata that says what the UNet predicts.
PREDICTION_KEYS = ("prediction_type", "modelspec.prediction_type", "ss_zero_terminal_snr")
RELEASE_AFTER = 32 * 1024 * 1024


class MergeModel:
    """One of the checkpoints.  letter: A, B or C.   averages: what is done with those in the file, as in MergeRequest.

    Raises ModelError when it cannot be read, or has no averages where they are to be used.
    """

    def __init__(self, source: MergeSource, letter: str, averages: str = KEEP_AVERAGES) -> None:
        self.source = source
        self.letter = letter
        self._version = file_version(source.path)
        self._file = TensorFile(source.path)
        self._size = size_and_time(source.path)[0]
        self._mapped = 0
        self._places = _places(self._file.names, averages)
        if averages == USE_AVERAGES and not any(place.startswith(AVERAGES) for place in self._places.values()):
            raise ModelError(f"{source.title} has no EMA weights (model_ema...) to use. Keep or drop them instead.")

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself."""
        return self._file.metadata

    @property
    def names(self) -> frozenset[str]:
        """Of all weights."""
        return frozenset(self._places)

    def tensor(self, name: str) -> torch.Tensor:
        """A weight, mapped and not read; what is read of it stays in memory as long as it is held.  Raises ModelError."""
        tensor = self._file.tensor(self._places[name])
        size = math.prod(tensor.shape) * tensor.dtype.itemsize
        if size > self._size:  # a pickle may say that one number stands for a billion
            raise ModelError(f"{self.source.title}: {name!r} claims {size} bytes in a file of {self._size}; it is damaged.")
        return tensor

    def read(self, name: str) -> torch.Tensor:
        """A weight that will be read. Now and then what was read before is let go, or all of it would stay in memory."""
        tensor = self.tensor(name)
        if self._mapped and self._mapped + tensor.nbytes > RELEASE_AFTER:
            self._mapped = 0
            del tensor
            self._file.release()
            tensor = self.tensor(name)
        self._mapped += tensor.nbytes
        return tensor

    def check_unchanged(self) -> None:
        """Raises ModelError when the file has been replaced or written to since it was opened."""
        if file_version(self.source.path) != self._version:
            raise ModelError(f"{self.source.title} was changed while it was read. Start the job again.")

    @property
    def config_file(self) -> Path | None:
        """The .yaml of its name, if there is one that can be a configuration."""
        path = self.source.path.with_name(f"{stem_of(self.source.path)}.yaml")
        return path if path.is_file() and path.stat().st_size <= MAX_SIDECAR else None

    @property
    def says_prediction(self) -> bool:
        """Whether it says what its UNet predicts."""
        return bool(self.config_file or any(key in self.metadata for key in PREDICTION_KEYS) or any(name in self.names for name in MARKERS))


def _places(names: frozenset[str], averages: str) -> dict[str, str]:
    """Names in the file by the names that they get. An average's name is that of its weight without dots, behind "model_ema."."""
    if averages == KEEP_AVERAGES:
        return {name: name for name in names}
    kept = [name for name in names if not name.startswith(AVERAGES)]
    if averages == DROP_AVERAGES:
        return {name: name for name in kept}
    averaged = {name: AVERAGES + name.removeprefix(TRAINED).replace(".", "") for name in kept if name.startswith(TRAINED)}
    return {name: averaged[name] if averaged.get(name) in names else name for name in kept}
