"""Merging, converting and downloading models from the Models tab: forms made of the declarations, jobs followed to their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from webui.app import App
from webui.core.errors import InvalidRequest, NotFound
from webui.core.model_jobs import NO_VAE, SETTLED, DownloadRequest, MergeRequest, ModelRequest, read_model_request
from webui.core.parameters import parameters_of
from webui.ui.answers import answered
from webui.ui.described import describe
from webui.ui.generate import look

SOURCE = "models"
# What most merges need; the rest is folded away.
USUAL = ("primary", "secondary", "tertiary", "method", "multiplier", "custom_name", "precision", "source", "model_kind", "name")


def served(app: App) -> list[Callable[[Any], Any]]:
    """What the page's scripts ask of these jobs."""

    def forms(_: Any) -> dict[str, Any]:
        return answered(lambda: _forms(app))

    def start(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: _start(app, str(query.get("form")), query.get("values")))

    def follow(query: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: look(app, str(query.get("job")), known=frozenset(), preview_seen=None, watching=False))

    def stop(query: dict[str, Any]) -> None:
        with suppress(NotFound):
            app.queue.cancel(str(query.get("job")))

    return [forms, start, follow, stop]


def _forms(app: App) -> dict[str, Any]:
    """What each form asks, with the models that there are now."""
    checkpoints = ("", *(checkpoint.name for checkpoint in app.catalog.checkpoints()))
    offers: Mapping[str, tuple[str, ...]] = {
        "primary": checkpoints, "secondary": checkpoints, "tertiary": checkpoints,
        "bake_in_vae": (NO_VAE, *(vae.name for vae in app.catalog.vaes())),
    }  # fmt: skip
    return {"merge": _fields(MergeRequest, offers), "download": _fields(DownloadRequest, {})}


def _start(app: App, form: str, values: Any) -> dict[str, Any]:
    """Queue what a form asks for.  Raises WebuiError."""
    if not isinstance(values, dict):
        raise InvalidRequest("The page sent no values. Reload it.")
    asked = {name: value for name, value in values.items() if name not in SETTLED}
    if form == "merge":
        job = app.submit_merge(read_model_request(MergeRequest, asked), source=SOURCE)
    elif form == "download":
        job = app.submit_download(read_model_request(DownloadRequest, asked), source=SOURCE)
    else:
        raise InvalidRequest(f"The page sent a form {form[:40]!r}, which is not known. Reload it.")
    assert isinstance(job.request, ModelRequest)
    return {"job": job.id, "result": job.request.result}


def _fields(kind: type[ModelRequest], offers: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    return [
        {**describe(declared, declared.default, offers.get(name)), "folded": name not in USUAL}
        for name, declared in parameters_of(kind).items()
        if name not in SETTLED
    ]
