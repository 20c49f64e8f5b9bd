"""Making pictures larger and mending faces over HTTP, and what there is to do it with."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from webui.api.admission import Admission, client_of
from webui.api.errors import error_response, failure_response
from webui.api.job_events import ended
from webui.api.picture_urls import fetch_picture
from webui.api.pictures import read_picture
from webui.api.schemas import (
    ExtrasBatchRequest,
    ExtrasBatchResponse,
    ExtrasOptions,
    ExtrasSingleRequest,
    ExtrasSingleResponse,
    FaceRestorerItem,
    NamedItem,
    PostprocessorInfo,
    RealesrganItem,
    UpscalerItem,
)
from webui.api.translate_extras import read_extras_options, write_html_info, write_postprocessor, write_upscaler
from webui.app import App, Job
from webui.core.errors import InvalidRequest
from webui.core.events import Failed
from webui.core.extras import MAX_PICTURES, SourcePicture
from webui.core.images import decode_base64, image_to_base64
from webui.core.result import Picture
from webui.core.upscalers import FACE_RESTORERS, LATENT_UPSCALERS

REALESRGAN_FOLDER = "RealESRGAN"


class Extras:
    """The handlers of the extras routes. What they make is never saved in outputs/, as in A1111."""

    def __init__(self, app: App, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        single, batch = ExtrasSingleResponse, ExtrasBatchResponse
        server.add_api_route("/sdapi/v1/extra-single-image", self.single, methods=["POST"], response_model=single, tags=["extras"])
        server.add_api_route("/sdapi/v1/extra-batch-images", self.batch, methods=["POST"], response_model=batch, tags=["extras"])
        server.add_api_route("/sdapi/v1/upscalers", self.upscalers, methods=["GET"], tags=["models"])
        server.add_api_route("/sdapi/v1/latent-upscale-modes", self.latent_modes, methods=["GET"], tags=["models"])
        server.add_api_route("/sdapi/v1/face-restorers", self.face_restorers, methods=["GET"], tags=["models"])
        server.add_api_route("/api/v1/postprocessors", self.postprocessors, methods=["GET"], tags=["extras"])
        server.add_api_route("/sdapi/v1/realesrgan-models", self.realesrgan_models, methods=["GET"], tags=["models"])

    async def single(self, wire: ExtrasSingleRequest, request: Request) -> JSONResponse:
        """Work on one picture, and answer when it is done."""
        answer = await self._work(request, wire, [(wire.image, "")])
        if isinstance(answer, JSONResponse):
            return answer
        if not answer:
            return error_response(500, "Interrupted", "The job was interrupted before its picture was done. Send it again.")
        image = await run_in_threadpool(_base64, answer[-1])
        return JSONResponse({"html_info": write_html_info(answer[-1].infotext), "image": image})

    async def batch(self, wire: ExtrasBatchRequest, request: Request) -> JSONResponse:
        """Work on several pictures, and answer when all are done; after an interrupt, with those that are."""
        answer = await self._work(request, wire, [(one.data, one.name) for one in wire.imageList])
        if isinstance(answer, JSONResponse):
            return answer
        images = await run_in_threadpool(lambda: [_base64(picture) for picture in answer])
        return JSONResponse({"html_info": write_html_info(answer[-1].infotext if answer else ""), "images": images})

    def upscalers(self) -> list[UpscalerItem]:
        """Every upscaler of pictures."""
        return [write_upscaler(one) for one in self._app.catalog.upscalers.all]

    def postprocessors(self) -> list[PostprocessorInfo]:
        """The steps that may be asked for in `postprocessors`, in the order in which they work."""
        return [write_postprocessor(one) for one in self._app.host.postprocessors()]

    def latent_modes(self) -> list[NamedItem]:
        """Every way to make latents larger; only a hires fix can use them."""
        return [NamedItem(name=name) for name in LATENT_UPSCALERS]

    def face_restorers(self) -> list[FaceRestorerItem]:
        """Every face restorer, with the folder of its file where there is one."""
        found = {name: self._app.catalog.upscalers.restorer(name) for name in FACE_RESTORERS}
        return [FaceRestorerItem(name=name, cmd_dir=str(path.parent) if path else None) for name, path in found.items()]

    def realesrgan_models(self) -> list[RealesrganItem]:
        """Every file in the folder for Real-ESRGAN."""
        files = [one for one in self._app.catalog.upscalers.files if one.folder == REALESRGAN_FOLDER]
        return [RealesrganItem(name=one.name, path=str(one.path), scale=one.scale) for one in files]

    async def _work(self, request: Request, wire: ExtrasOptions, pictures: list[tuple[str, str]]) -> JSONResponse | tuple[Picture, ...]:
        job = await run_in_threadpool(self._submit, client_of(request), wire, pictures)
        end = await ended(self._app, request, job)
        if isinstance(end, Failed):
            return failure_response(end)
        return job.result.pictures if job.result else ()

    def _submit(self, client: str, wire: ExtrasOptions, pictures: list[tuple[str, str]]) -> Job:
        if not 0 < len(pictures) <= MAX_PICTURES:
            raise InvalidRequest(f"imageList: got {len(pictures)} pictures; send 1 to {MAX_PICTURES}.")
        # Read with a stand-in first, so that no picture is decoded and stored for a request that cannot be.
        read_extras_options(wire, [SourcePicture(image="0" * 64, width=1, height=1)])
        settings = self._app.settings.snapshot()
        taken = [self._app.take_picture(decode_base64(fetch_picture(data, settings)), name=name) for data, name in pictures]
        request = read_extras_options(wire, taken)
        return self._admission.submit(client, lambda: self._app.submit_extras(request, save=False, source="api"))


def _base64(picture: Picture) -> str:
    return image_to_base64(read_picture(picture))
