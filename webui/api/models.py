"""Which models, samplers and schedules there are."""

from __future__ import annotations

from fastapi import FastAPI

from webui.api.schemas import SamplerItem, SchedulerItem, SDModelItem, SDVaeItem
from webui.api.translate import write_sampler, write_schedule
from webui.app import App


class Models:
    """The handlers that list."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        server.add_api_route("/sdapi/v1/sd-models", self.checkpoints, methods=["GET"], tags=["models"])
        server.add_api_route("/sdapi/v1/sd-vae", self.vaes, methods=["GET"], tags=["models"])
        server.add_api_route("/sdapi/v1/samplers", self.samplers, methods=["GET"], tags=["models"])
        server.add_api_route("/sdapi/v1/schedulers", self.schedules, methods=["GET"], tags=["models"])
        server.add_api_route("/sdapi/v1/refresh-checkpoints", self.refresh_checkpoints, methods=["POST"], tags=["models"])
        server.add_api_route("/sdapi/v1/refresh-vae", self.refresh_vaes, methods=["POST"], tags=["models"])

    def checkpoints(self) -> list[SDModelItem]:
        """Every checkpoint that can draw."""
        catalog = self._app.catalog
        items = []
        for checkpoint in catalog.checkpoints():
            sha256 = catalog.known_sha256(checkpoint)
            config = checkpoint.path.with_suffix(".yaml")
            items.append(
                SDModelItem(
                    title=catalog.title(checkpoint),
                    model_name=checkpoint.model_name,
                    hash=sha256[:10] if sha256 else None,
                    sha256=sha256 or None,
                    filename=str(checkpoint.path),
                    config=str(config) if config.is_file() else None,
                )
            )
        return items

    def vaes(self) -> list[SDVaeItem]:
        """Every VAE file."""
        return [SDVaeItem(model_name=vae.name, filename=str(vae.path)) for vae in self._app.catalog.vaes()]

    def samplers(self) -> list[SamplerItem]:
        """Every sampling method."""
        return [write_sampler(sampler) for sampler in self._app.samplers]

    def schedules(self) -> list[SchedulerItem]:
        """Every schedule type."""
        return [write_schedule(schedule) for schedule in self._app.schedules]

    def refresh_checkpoints(self) -> None:
        """Look again which checkpoints are in the folders."""
        self._app.catalog.refresh()

    def refresh_vaes(self) -> None:
        """Look again which VAE files are in the folders."""
        self._app.catalog.refresh()
