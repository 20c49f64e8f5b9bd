"""OpenAI's images API: /v1/images/generations, /v1/images/edits and /v1/models."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL.Image import Image
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from webui.api.admission import Admission, client_of
from webui.api.errors import STATUS, Refusal, openai_error, responses
from webui.api.job_events import HEADERS, ended, with_looks
from webui.api.openai_wire import (
    ImageData,
    ImagesAnswer,
    ImageWish,
    Model,
    ModelList,
    edit_mask,
    encoded,
    quality_of,
    stream_event,
    usage,
)
from webui.api.pictures import read_picture
from webui.app import App, Job
from webui.core.errors import UnknownName
from webui.core.events import Failed, ImageReady, Preview, Progress
from webui.core.images import decode_image, image_to_base64
from webui.core.request import GenerationRequest, describe_validation, read_request
from webui.core.result import Picture

GRID = 8
MAX_SIDE = 2048
MAX_FILES, MAX_FIELDS, MAX_FIELD_BYTES = 17, 64, 512 * 1024
# How an edit draws when the client does not say: what is masked all anew; a whole picture so that it is still known.
STRENGTH_OF_MASKED, STRENGTH_OF_WHOLE = 1.0, 0.75


class OpenAiImages:
    """The handlers."""

    def __init__(self, app: App, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under OpenAI's paths."""
        errors = responses(openai=True)
        streams: dict[int | str, Any] = {**errors, 200: {"content": {"text/event-stream": {}}}}
        add = partial(server.add_api_route, methods=["POST"], response_model=ImagesAnswer, responses=streams, tags=["openai"])
        add("/v1/images/generations", self.generate)
        add("/v1/images/edits", self.edit, openapi_extra=_form_schema())
        server.add_api_route("/v1/models", self.models, methods=["GET"], tags=["openai"], responses=errors)
        server.add_api_route("/v1/models/{model_id:path}", self.model, methods=["GET"], tags=["openai"], responses=errors)

    async def generate(self, wish: ImageWish, request: Request) -> Response:
        """Draw pictures from a prompt."""
        job = await run_in_threadpool(self._submit, client_of(request), wish, None, None)
        return await self._answer(wish, job, request, "image_generation")

    async def edit(self, request: Request) -> Response:
        """Draw a picture anew, or what its mask leaves open."""
        wish, picture, mask = await _read_form(request)
        job = await run_in_threadpool(self._submit, client_of(request), wish, picture, mask)
        return await self._answer(wish, job, request, "image_edit")

    def models(self) -> ModelList:
        """Every checkpoint that can draw."""
        return ModelList(data=[self._model(one.name) for one in self._app.catalog.checkpoints()])

    def model(self, model_id: str) -> Model:
        """One checkpoint."""
        return self._model(self._checkpoint(model_id))

    def _model(self, name: str) -> Model:
        return Model(id=name, created=self._app.catalog.find_checkpoint(name).mtime_ns // 10**9)

    def _checkpoint(self, name: str) -> str:
        try:
            return self._app.catalog.find_checkpoint(name).name
        except UnknownName as error:
            raise Refusal(404, str(error), code="model_not_found", param="model") from None

    def _submit(self, client: str, wish: ImageWish, data: bytes | None, mask_data: bytes | None) -> Job:
        checkpoint = self._app.settings.snapshot().sd_model_checkpoint if wish.foreign else self._checkpoint(wish.model)
        found = self._app.catalog.find_checkpoint(checkpoint)
        defaults = {name: value for name, value in self._app.catalog.defaults(found).items() if name in ("width", "height")}
        picture = decode_image(data) if data is not None else None
        values = {**defaults, "checkpoint": found.name, **(self._start(picture, mask_data) if picture else {}), **wish.parameters()}
        if measures := wish.measures():
            values |= {"width": measures[0], "height": measures[1]}
        request = read_request(values)
        return self._admission.submit(client, lambda: self._app.submit(request, save=False, source="api"))

    def _start(self, picture: Image, mask_data: bytes | None) -> dict[str, Any]:
        """The parameters that a picture to edit brings."""
        mask = edit_mask(picture, decode_image(mask_data) if mask_data is not None else None)
        inputs = self._app.queue.inputs
        width, height = (max(64, min(MAX_SIDE, side) // GRID * GRID) for side in picture.size)
        return {
            "init_images": [inputs.add(picture.convert("RGB"))],
            "mask": inputs.add(mask) if mask else "",
            "width": width,
            "height": height,
            "masked_content": "fill",
            "denoising_strength": STRENGTH_OF_MASKED if mask else STRENGTH_OF_WHOLE,
        }

    async def _answer(self, wish: ImageWish, job: Job, request: Request, kind: str) -> Response:
        if wish.stream:
            return StreamingResponse(self._stream(wish, job, kind), media_type="text/event-stream", headers=dict(HEADERS))
        end = await ended(self._app, request, job)
        if isinstance(end, Failed):
            return _failed(end)
        pictures = job.result.pictures if job.result else ()
        if not pictures:
            return openai_error(500, "Interrupted", "The job was interrupted before a picture was done. Send it again.")
        base = str(request.base_url).rstrip("/")
        answer = await run_in_threadpool(self._images, wish, pictures, base)
        return JSONResponse(answer.model_dump(exclude_none=True))

    def _images(self, wish: ImageWish, pictures: tuple[Picture, ...], base: str) -> ImagesAnswer:
        data = [
            ImageData(url=f"{base}/pictures/{picture.id}") if wish.wants_url else ImageData(b64_json=_base64(picture, wish))
            for picture in pictures
        ]
        return ImagesAnswer(
            created=int(time.time()),
            data=data,
            output_format=wish.output_format,
            quality=quality_of(wish),
            size=_size(pictures[0]),
            usage=usage(self._tokens(wish)),
        )

    async def _stream(self, wish: ImageWish, job: Job, kind: str) -> AsyncIterator[str]:
        """Partial pictures and results as they come. A client that goes away ends its job: nobody could fetch what it would draw."""
        shown, fraction = 0, 0.0
        try:
            async for event in with_looks(job, self._app if wish.partial_images else None):
                match event:
                    case None:
                        yield ": still here\n\n"
                    case Progress():
                        fraction = event.fraction
                    case Preview(image) if shown < wish.partial_images and fraction >= (shown + 1) / (wish.partial_images + 1):
                        # A preview is small; clients lay it where the result will be.
                        asked = job.request
                        large = image.resize((asked.width, asked.height)) if isinstance(asked, GenerationRequest) else image
                        content = image_to_base64(await run_in_threadpool(encoded, large, wish))
                        size = f"{large.width}x{large.height}"
                        yield _line(stream_event(f"{kind}.partial_image", wish, content, size, partial_image_index=shown))
                        shown += 1
                    case ImageReady(picture):
                        content = await run_in_threadpool(_base64, picture, wish)
                        counted = usage(await run_in_threadpool(self._tokens, wish))
                        yield _line(stream_event(f"{kind}.completed", wish, content, _size(picture), usage=counted))
                    case Failed():
                        body = json.loads(bytes(_failed(event).body))
                        yield _line({"type": "error", **body})
        finally:
            if not job.log.ended:
                self._app.queue.cancel(job.id)

    def _tokens(self, wish: ImageWish) -> int:
        return self._app.engine.count_tokens(wish.prompt)[0] if self._app.engine_ready else 0


async def _read_form(request: Request) -> tuple[ImageWish, bytes, bytes | None]:
    """The wish, the picture's file and the mask's.  Raises Refusal."""
    if "multipart/form-data" not in request.headers.get("content-type", ""):
        raise Refusal(415, "Send multipart/form-data, with the picture as the file `image`.")
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
        files = [(name.removesuffix("[]"), value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        texts = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        pictures = [file for name, file in files if name == "image"]
        masks = [file for name, file in files if name == "mask"]
        if len(pictures) != 1 or len(masks) > 1:
            said = f"image: got {len(pictures)} pictures and {len(masks)} masks; send one picture, and at most one mask."
            raise Refusal(400, said, param="image")
        try:
            wish = ImageWish.model_validate(texts)
        except ValidationError as error:
            raise Refusal(400, describe_validation(error), param=str(error.errors()[0]["loc"][0])) from None
        return wish, await pictures[0].read(), await masks[0].read() if masks else None


def _failed(failed: Failed) -> JSONResponse:
    return openai_error(STATUS.get(failed.kind, 500), failed.kind, failed.message)


def _base64(picture: Picture, wish: ImageWish) -> str:
    data = read_picture(picture)
    wanted = f".{wish.output_format}".replace(".jpeg", ".jpg")
    if picture.path.suffix.lower().replace(".jpeg", ".jpg") != wanted or wish.output_compression != 100:
        data = encoded(decode_image(data), wish)
    return image_to_base64(data)


def _size(picture: Picture) -> str:
    request = picture.request
    return f"{getattr(request, 'width', 0)}x{getattr(request, 'height', 0)}"


def _line(event: Mapping[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _form_schema() -> dict[str, Any]:
    """The form of an edit, for the OpenAPI file."""
    file = {"type": "string", "format": "binary"}
    text = ImageWish.model_json_schema()["properties"]
    schema = {"type": "object", "required": ["image", "prompt"], "properties": {"image": file, "mask": file, **text}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
