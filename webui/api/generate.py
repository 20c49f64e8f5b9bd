"""Drawing over HTTP: txt2img, and looking at, ending and skipping what runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from webui.api.admission import Admission, client_of
from webui.api.always_on import add_always_on, check_always_on
from webui.api.control_units import is_control_script, read_units, shows_map
from webui.api.errors import failure_response
from webui.api.job_events import ended
from webui.api.options import store_settings
from webui.api.packing import picture_answer
from webui.api.picture_urls import fetch_picture, replace_urls
from webui.api.pictures import read_picture
from webui.api.schemas import DrawRequest, Img2ImgRequest, ProgressResponse, ProgressState, Txt2ImgRequest, Txt2ImgResponse
from webui.api.scripts import add_script
from webui.api.translate import (
    ModelFacts,
    fill_from_infotext,
    read_img2img,
    read_overrides,
    read_task_id,
    read_txt2img,
    write_info,
    write_progress,
)
from webui.app import App, Job
from webui.core.errors import WebuiError
from webui.core.events import ControlReady, Failed, ModelLoading, Preview, Progress
from webui.core.images import encode_png, image_to_base64
from webui.core.model_jobs import ModelRequest
from webui.core.request import GenerationRequest

IdTask = Annotated[str | None, Query(max_length=128, description="A job's id; without it, whatever runs.")]


class Generation:
    """The handlers that draw."""

    def __init__(self, app: App, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        server.add_api_route("/sdapi/v1/txt2img", self.txt2img, methods=["POST"], response_model=Txt2ImgResponse, tags=["generate"])
        server.add_api_route("/sdapi/v1/img2img", self.img2img, methods=["POST"], response_model=Txt2ImgResponse, tags=["generate"])
        server.add_api_route("/sdapi/v1/progress", self.progress, methods=["GET"], response_model=ProgressResponse, tags=["generate"])
        server.add_api_route("/sdapi/v1/interrupt", self.interrupt, methods=["POST"], tags=["generate"])
        server.add_api_route("/sdapi/v1/skip", self.skip, methods=["POST"], tags=["generate"])

    async def txt2img(self, wire: Txt2ImgRequest, request: Request) -> Response:
        """Draw pictures from a prompt, and answer when they are done. A client that goes away does not stop its job."""
        return await self._draw(request, wire, lambda: read_txt2img(wire))

    async def img2img(self, wire: Img2ImgRequest, request: Request) -> Response:
        """Draw pictures from a picture, or what a mask shows of it anew, and answer when they are done."""
        return await self._draw(request, wire, lambda: read_img2img(self._with_pictures(wire), self._app.queue.inputs.add))

    async def _draw(self, request: Request, wire: DrawRequest, read: Callable[[], GenerationRequest]) -> Response:
        job = await run_in_threadpool(self._submit, client_of(request), wire, read)
        end = await ended(self._app, request, job)
        if isinstance(end, Failed):
            return failure_response(end)
        return await run_in_threadpool(self._answer, wire, job)

    def progress(self, skip_current_image: bool = False, id_task: IdTask = None) -> ProgressResponse:
        """How far the oldest running job is, or the one named by `id_task`."""
        job = self._app.queue.job(id_task) if id_task else next(iter(self._running()), None)
        if job is None:
            return ProgressResponse()
        if job.state != "running" or job.started_at is None:
            return _progress_of_waiting(job)
        progress = job.log.latest(Progress)
        answer = write_progress(job.request, progress, job.started_at)
        answer.state.interrupted = job.cancel_wanted
        answer.state.skipped = job.skipped_batch is not None and job.skipped_batch == (progress.batch if progress else 0)
        if progress is None and (loading := job.log.latest(ModelLoading)):
            answer.textinfo = f"Loading {loading.checkpoint}"
        if not skip_current_image and job.settings.live_previews_enable:
            answer.current_image = self._preview(job)
        return answer

    def interrupt(self, id_task: IdTask = None) -> dict[str, Any]:
        """End what runs now, keeping the pictures drawn so far. Waiting jobs are not touched."""
        for job in self._meant(id_task):
            self._app.queue.cancel(job.id)
        return {}

    def skip(self, id_task: IdTask = None) -> None:
        """End only the batch being drawn of what runs now."""
        for job in self._meant(id_task):
            self._app.queue.skip(job.id)

    def _with_pictures(self, wire: Img2ImgRequest) -> Img2ImgRequest:
        """The same request with the pictures in place of their URLs."""
        settings = self._app.settings.snapshot()
        pictures = {"init_images": wire.init_images, "mask": wire.mask}
        return wire.model_copy(update=replace_urls(pictures, lambda url: fetch_picture(url, settings)))

    def _submit(self, client: str, wire: DrawRequest, read: Callable[[], GenerationRequest]) -> Job:
        check_always_on(self._app, wire.alwayson_scripts)
        request, overrides = read(), read_overrides(wire, self._app.settings.declared)
        settings = self._app.settings.snapshot()
        scripts = {
            name: replace_urls(script, lambda url: fetch_picture(url, settings)) if is_control_script(name) else script
            for name, script in wire.alwayson_scripts.items()
        }
        if units := read_units(scripts, self._app.queue.inputs.add):
            request = request.changed(control_units=units)
        if wire.infotext:
            request, overrides = fill_from_infotext(wire, request, overrides, self._app.read_paste(wire.infotext))
        # As in A1111: a grid comes with pictures that are kept, whatever do_not_save_grid says.
        request = request.changed(make_grid=wire.save_images)
        request = add_script(self._app, wire, add_always_on(self._app, wire.alwayson_scripts, request))
        submit = partial(
            self._app.submit,
            request,
            overrides=overrides,
            styles=wire.styles or (),
            save=wire.save_images and settings.samples_save,
            source="api",
            job_id=read_task_id(wire),
        )
        job = self._admission.submit(client, submit)
        if not wire.override_settings_restore_afterwards:
            store_settings(self._app, {key: value for key, value in overrides.items() if key in (wire.override_settings or {})})
        return job

    def _answer(self, wire: DrawRequest, job: Job) -> Response:
        result = job.result or job.result_after(0.0)
        images = [image_to_base64(read_picture(picture)) for picture in result.pictures] if wire.send_images else []
        if wire.send_images:
            images += self._control_maps(wire, job)
        info = write_info(wire, result, job.settings, self._facts(job), job.started_at or job.created_at)
        return picture_answer(images, {"parameters": _echo(wire), "info": info})

    def _control_maps(self, wire: DrawRequest, job: Job) -> list[str]:
        """What the ControlNet units followed, which that extension's clients find behind the pictures."""
        if self._app.settings.snapshot().control_net_no_detectmap:
            return []
        shown = [event for event in job.log.all(ControlReady) if shows_map(wire.alwayson_scripts, event.unit)]
        return [image_to_base64(self._app.queue.inputs.read(event.picture)) for event in shown]

    def _facts(self, job: Job) -> ModelFacts:
        """The files that drew, as far as they are still there."""
        catalog, request = self._app.catalog, job.request
        assert isinstance(request, GenerationRequest)
        try:
            checkpoint = catalog.find_checkpoint(request.checkpoint)
            vae = catalog.find_vae(request.vae, checkpoint)
        except WebuiError:
            return ModelFacts(PurePosixPath(request.checkpoint).stem, None, None, None)
        vae_hash = catalog.known_sha256(vae) if vae else None
        hashed, inpaints = _short(catalog.known_sha256(checkpoint)), checkpoint.identity.family.endswith("-inpaint")
        return ModelFacts(checkpoint.stem, hashed, vae.path.name if vae else None, _short(vae_hash), inpaints)

    def _running(self) -> list[Job]:
        """What runs, oldest first."""
        running = [job for job in self._app.queue.jobs() if job.state == "running" and not isinstance(job.request, ModelRequest)]
        return sorted(running, key=lambda job: job.started_at or 0.0)

    def _meant(self, id_task: str | None) -> list[Job]:
        return [self._app.queue.job(id_task)] if id_task else self._running()

    def _preview(self, job: Job) -> str | None:
        self._app.engine.want_preview(job.id)
        preview = job.log.latest(Preview)
        return image_to_base64(encode_png(preview.image, {})) if preview else None


def _progress_of_waiting(job: Job) -> ProgressResponse:
    """Of a job that does not run yet, or not any more."""
    if job.state == "queued":
        return ProgressResponse(textinfo="Waiting...")
    return ProgressResponse(progress=1.0, state=ProgressState(interrupted=job.state == "cancelled"))


def _echo(wire: DrawRequest) -> dict[str, Any]:
    """The request as it came; pictures only if the client wants them back, as in A1111."""
    hidden = {"init_images": None, "mask": None} if isinstance(wire, Img2ImgRequest) and not wire.include_init_images else {}
    return {**wire.model_dump(), **hidden}


def _short(sha256: str | None) -> str | None:
    return sha256[:10] if sha256 else None
