"""Our own jobs API: jobs are queued, watched, moved and ended; pictures are fetched by URL."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from PIL import Image

from webui.api.admission import Admission, Idempotency, client_of
from webui.api.job_events import Readers
from webui.api.job_wire import (
    JobDetail,
    JobPage,
    JobWish,
    MoveWish,
    PictureWish,
    QueueView,
    State,
    StoredPicture,
    detail_job,
    positions,
    view_job,
)
from webui.api.picture_urls import fetch_picture
from webui.api.translate import check_overrides
from webui.app import App, Job
from webui.core.errors import InvalidRequest
from webui.core.extras import ExtrasRequest
from webui.core.images import decode_base64_image

JOBS = "/api/v1/jobs"
QUEUE = "/api/v1/queue"


class Jobs:
    """The handlers under /api/v1."""

    def __init__(self, app: App, admission: Admission, readers: Readers) -> None:
        self._app = app
        self._admission = admission
        self._readers = readers
        self._idempotency = Idempotency(app)

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under their paths."""
        one = f"{JOBS}/{{job_id}}"
        server.add_api_route(JOBS, self.submit, methods=["POST"], status_code=201, tags=["jobs"], responses={200: {"model": JobDetail}})
        server.add_api_route(JOBS, self.page, methods=["GET"], tags=["jobs"])
        server.add_api_route(one, self.read, methods=["GET"], tags=["jobs"])
        server.add_api_route(one, self.cancel, methods=["DELETE"], tags=["jobs"])
        server.add_api_route(f"{one}/skip", self.skip, methods=["POST"], tags=["jobs"])
        server.add_api_route(f"{one}/move", self.move, methods=["POST"], tags=["jobs"])
        stream: dict[int | str, Any] = {200: {"content": {"text/event-stream": {}}}}
        events = f"{one}/events"
        server.add_api_route(events, self.events, methods=["GET"], response_class=StreamingResponse, responses=stream, tags=["jobs"])
        server.add_api_route(QUEUE, self.queue, methods=["GET"], tags=["jobs"])
        server.add_api_route(f"{QUEUE}/pause", self.pause, methods=["POST"], tags=["jobs"])
        server.add_api_route(f"{QUEUE}/resume", self.resume, methods=["POST"], tags=["jobs"])
        server.add_api_route("/api/v1/inputs", self.store, methods=["POST"], status_code=201, tags=["jobs"])

    def submit(
        self,
        wish: JobWish,
        request: Request,
        response: Response,
        idempotency_key: Annotated[str | None, Header(description="The same key gives the same job, however often it is sent.")] = None,
    ) -> JobDetail:
        """Queue a job and answer at once. 200 in place of 201: the idempotency key has named this job before."""
        client = client_of(request)
        if idempotency_key is None:
            job = self._submit(client, wish, None)
        else:
            job_id = self._idempotency.job_id(client, idempotency_key)
            body = wish.model_dump_json().encode()
            job, is_new = self._idempotency.submit(job_id, body, lambda name: self._submit(client, wish, name))
            response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"{_root(request)}{JOBS}/{job.id}"
        return self._detail(job, request)

    def page(
        self,
        request: Request,
        state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> JobPage:
        """Jobs: running, then queued in order, then ended with the newest first."""
        every = self._app.queue.jobs()
        jobs = [job for job in every if state in (None, job.state)]
        places = positions(every)
        shown = [view_job(job, _root(request), position=places.get(job.id)) for job in jobs[offset : offset + limit]]
        return JobPage(total=len(jobs), offset=offset, jobs=shown)

    def read(self, job_id: str, request: Request) -> JobDetail:
        """One job."""
        return self._detail(self._app.queue.job(job_id), request)

    def cancel(self, job_id: str, request: Request) -> JobDetail:
        """End a job: a queued one at once, a running one within a step. One that has ended stays as it is."""
        self._app.queue.cancel(job_id)
        return self._detail(self._app.queue.job(job_id), request)

    def skip(self, job_id: str, request: Request) -> JobDetail:
        """End only the batch being drawn."""
        self._app.queue.skip(job_id)
        return self._detail(self._app.queue.job(job_id), request)

    def move(self, job_id: str, wish: MoveWish, request: Request) -> JobDetail:
        """Give a queued job another place."""
        self._app.queue.move(job_id, wish.position)
        return self._detail(self._app.queue.job(job_id), request)

    def events(
        self, job_id: str, request: Request, previews: Annotated[bool, Query(description="Also send previews.")] = False
    ) -> StreamingResponse:
        """The job's events, from the first to the one that ends it; each connection hears all of them."""
        return self._readers.stream(self._app.queue.job(job_id), _root(request), previews=previews)

    def queue(self) -> QueueView:
        """How the queue is."""
        states = [job.state for job in self._app.queue.jobs()]
        queue = self._app.queue
        return QueueView(paused=queue.paused, running=states.count("running"), queued=states.count("queued"), limit=queue.limit)

    def pause(self) -> QueueView:
        """Start no job until `resume`; what runs goes on."""
        self._app.queue.pause()
        return self.queue()

    def resume(self) -> QueueView:
        """Start jobs again."""
        self._app.queue.resume()
        return self.queue()

    def store(self, wish: PictureWish, request: Request) -> StoredPicture:
        """Keep a picture for jobs to start from, for a day or as long as a job needs it."""
        image = decode_base64_image(fetch_picture(wish.image, self._app.settings.snapshot()))
        name = self._app.queue.inputs.add(image)
        return StoredPicture(hash=name, width=image.width, height=image.height, url=f"{_root(request)}/inputs/{name}")

    def _submit(self, client: str, wish: JobWish, job_id: str | None) -> Job:
        overrides = check_overrides(wish.overrides, self._app.settings.declared)

        def submit() -> Job:
            if isinstance(wish.request, ExtrasRequest):
                if overrides or wish.styles:
                    raise InvalidRequest("overrides, styles: a job of Extras draws nothing, so they would have no effect. Leave them out.")
                return self._app.submit_extras(self._measured(wish.request), save=wish.save, source="api", job_id=job_id)
            self._app.queue.inputs.files_of(wish.request)
            return self._app.submit(wish.request, overrides=overrides, styles=wish.styles, save=wish.save, source="api", job_id=job_id)

        job = self._admission.submit(client, submit)
        if wish.on_disconnect == "cancel":
            self._readers.cancel_when_alone(job)
        return job

    def _measured(self, request: ExtrasRequest) -> ExtrasRequest:
        """The request with the sizes that its pictures have, whatever the client says of them."""
        files = self._app.queue.inputs.files_of(request)
        pictures = []
        for picture in request.pictures:
            with Image.open(files[picture.image]) as image:  # the header alone; we wrote the file
                pictures.append({**picture.model_dump(), "width": image.width, "height": image.height})
        return request.changed(pictures=pictures)

    def _detail(self, job: Job, request: Request) -> JobDetail:
        places = positions(self._app.queue.jobs()) if job.state == "queued" else {}
        return detail_job(job, _root(request), position=places.get(job.id))


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))
