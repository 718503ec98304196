"""The application: routes, and what stands in front of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from mmengine.logging import print_log
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lira_plugin.inference import LIRAInferencer
from lira_plugin.serving.api_errors import ApiError, refuse
from lira_plugin.serving.chat_responses import ChatResponse, grounding_json, usage
from lira_plugin.serving.chat_schema import ChatRequest, MaskSettings, SegmentRequest, read_request
from lira_plugin.serving.event_stream import EventStream, event, until_gone
from lira_plugin.serving.image_sources import ImageSource
from lira_plugin.serving.job import Job, News
from lira_plugin.serving.limits import Limits
from lira_plugin.serving.model_thread import ModelThread, State, too_late
from lira_plugin.serving.preparation import Preparation, Prepared
from lira_plugin.serving.request_guards import REQUEST_ID, KnownTokensOnly, LoggedRequests
from lira_plugin.serving.server_metrics import ServerMetrics
from lira_plugin.web.bounded_requests import BoundedRequests
from lira_plugin.web.json_object import read_object
from lira_plugin.web.known_hosts import KnownHosts, KnownHostsOnly

_COMMENT_SECONDS = 10
"""After which a stream without news sends a comment, so that proxies keep it open."""
_SMALL = 2**18
"""Pixels of masks that are written without a worker."""
_PREPARING = 2
"""Requests that are read and whose images are decoded at the same time."""
T = TypeVar("T")


@dataclass(frozen=True)
class ServerSettings:
    """How the server is reached, and what it takes.

    Args:
        name: of the model, for clients.
        host, port: where it listens.
        allow_hosts: further names that it is reached by.
        allow_image_hosts: hosts that it fetches images from.
        tokens: bearer tokens that let clients in; none lets everybody in.
        limits: how much it takes.
        drain_seconds: for the answers that are being written when it is stopped.
        log_text: write questions and answers into the log.
    """

    name: str = "lira"
    host: str = "127.0.0.1"
    port: int = 8000
    allow_hosts: Sequence[str] = ()
    allow_image_hosts: Sequence[str] = ()
    tokens: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    drain_seconds: float = 30.0
    log_text: bool = False


class Service:
    """What the routes do.

    Args:
        model: the thread that has the model.
        settings: of the server.
    """

    def __init__(self, model: ModelThread, settings: ServerSettings) -> None:
        self.model, self.settings, self.limits = model, settings, settings.limits
        self.metrics = ServerMetrics(model)
        model.on_done = self.metrics.answered
        self._preparation = Preparation(settings.limits, ImageSource(settings.limits, settings.allow_image_hosts))
        self._workers = ThreadPoolExecutor(_PREPARING, thread_name_prefix="lira-prepare")
        self._num_open = 0

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        with _Counted(self):
            asked, prepared, jobs, news = await self._submit(request, ChatRequest, self._prepare_chat)
        (one,) = prepared
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        tokens = len(one.sample.input_ids)
        response = ChatResponse(REQUEST_ID.get(), self.settings.name, asked.mask_format, tokens, with_usage)
        if asked.stream:
            return EventStream(self._events(jobs[0], news, response), lambda: self.model.forget(jobs[0]))
        (last,) = await self._answers(request, jobs, news)
        return JSONResponse(await self._written(last, lambda: response.whole(last)))

    async def segment(self, request: Request) -> Response:
        """``POST /v1/segment``."""
        with _Counted(self):
            asked, prepared, jobs, news = await self._submit(request, SegmentRequest, self._prepare_segment)
        answers = await self._answers(request, jobs, news)

        def written() -> dict[str, Any]:
            segments = [
                {"phrase": phrase, "grounding": grounding_json(one.answer, asked.mask_format)}
                for phrase, one in zip(asked.phrases, answers, strict=True)
            ]
            read = sum(len(one.sample.input_ids) for one in prepared)
            return {
                "id": f"segment-{REQUEST_ID.get()}",
                "object": "segmentation",
                "model": self.settings.name,
                "size": list(prepared[0].sample.image.shape[:2]),
                "segments": segments,
                "usage": usage(read, sum(one.num_tokens for one in answers)),
            }

        return JSONResponse(await self._in_worker(written))

    async def models(self) -> Response:
        """``GET /v1/models``."""
        model = {"id": self.settings.name, "object": "model", "created": 0, "owned_by": "lira_plugin"}
        return JSONResponse({"object": "list", "data": [model]})

    async def healthz(self) -> Response:
        """``GET /healthz``: 200 where the model answers."""
        health = self.model.health
        content = {
            "status": health.state.value,
            "last_problem": health.problem or None,
            "restarts": self.model.restarts,
            "waiting": len(self.model.queue),
            "running": self.model.num_running,
        }
        return JSONResponse(content, 200 if health.state is State.READY else 503)

    async def prometheus(self) -> Response:
        """``GET /metrics``."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # --- steps -----------------------------------------------------------------------------------------------------------

    def _prepare_chat(self, lira: LIRAInferencer, asked: ChatRequest) -> list[Prepared]:
        prepared = self._preparation.chat(lira, self.model.generator.decoding, asked)
        self._log_text(prepared.sample.question)
        return [prepared]

    def _prepare_segment(self, lira: LIRAInferencer, asked: SegmentRequest) -> list[Prepared]:
        prepared = self._preparation.segment(lira, self.model.generator.decoding, asked)
        self._log_text(", ".join(asked.phrases))
        return prepared

    async def _submit(
        self, request: Request, kind: type[MaskSettings], prepare: Callable[[LIRAInferencer, Any], list[Prepared]]
    ) -> tuple[Any, list[Prepared], list[Job], asyncio.Queue]:
        """Read a request and put its questions into the queue."""
        deadline = monotonic() + self.limits.seconds
        try:
            body = await asyncio.wait_for(request.body(), self.limits.body_seconds)
        except asyncio.TimeoutError:
            raise ApiError(408, "the request did not arrive in time", code="timeout") from None
        lira = self.model.lira
        if lira is None:
            raise self.model.unavailable()

        def prepared() -> tuple[Any, list[Prepared]]:
            try:
                content = read_object(body)
            except ValueError as error:
                raise ApiError(400, f"the body must be a JSON object: {error}", code="invalid_json") from None
            asked = read_request(kind, content)
            if asked.model not in (None, self.settings.name):
                message = f"there is no model {asked.model[:80]!r} here, only {self.settings.name!r}"
                raise ApiError(404, message, param="model", code="model_not_found")
            return asked, prepare(lira, asked)

        asked, ready = await self._in_worker(prepared)
        loop, news = asyncio.get_running_loop(), asyncio.Queue()
        client = f"{request.client.host if request.client else ''} {request.headers.get('authorization', '')}"

        def teller(index: int) -> Callable[[News], None]:
            def tell(one: News) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(news.put_nowait, (index, one))

            return tell

        in_pieces = bool(getattr(asked, "stream", False))
        jobs = [
            Job(one.sample, one.image_key, one.decoding, client, deadline, teller(index), in_pieces)
            for index, one in enumerate(ready)
        ]
        self.model.submit(jobs)
        return asked, ready, jobs, news

    async def _answers(self, request: Request, jobs: Sequence[Job], news: asyncio.Queue) -> list[News]:
        """Wait for the answers of all jobs; where one fails, or the client goes, nobody waits for the others."""
        gone = asyncio.create_task(until_gone(request.receive))
        last: dict[int, News] = {}
        try:
            while len(last) < len(jobs):
                getting = asyncio.create_task(news.get())
                wait = max(jobs[0].deadline - monotonic(), 0) + 1
                done, _ = await asyncio.wait([getting, gone], timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if getting not in done:
                    getting.cancel()
                    raise ClientDisconnect if gone in done else too_late()
                index, one = getting.result()
                if one.error is not None:
                    raise one.error
                last[index] = one
        finally:
            gone.cancel()
            for job in jobs:
                self.model.forget(job)
        answers = [last[index] for index in range(len(jobs))]
        for one in answers:
            self._log_text(one.answer.text)
        return answers

    async def _events(self, job: Job, news: asyncio.Queue, response: ChatResponse) -> AsyncIterator[bytes]:
        yield event(response.opening())
        while True:
            left = job.deadline + 1 - monotonic()
            try:
                _, one = await asyncio.wait_for(news.get(), min(_COMMENT_SECONDS, max(left, 0)))
            except asyncio.TimeoutError:
                if left > _COMMENT_SECONDS:
                    yield b": waiting\n\n"
                    continue
                one = News("", None, True, error=too_late())
            if one.error is not None:
                yield event(one.error.to_json())
                return
            for chunk in await self._written(one, lambda found=one: list(response.chunks(found))):
                yield event(chunk)
            if one.done:
                self._log_text(one.answer.text)
                yield b"data: [DONE]\n\n"
                return

    async def _written(self, news: News, write: Callable[[], T]) -> T:
        """What ``write`` gives, which takes long where masks are large."""
        pixels = sum(span.mask.size for span in news.answer.spans)
        return write() if pixels < _SMALL else await self._in_worker(write)

    async def _in_worker(self, function: Callable[..., T], *arguments: Any) -> T:
        context = copy_context()  # which has the id of the request
        return await asyncio.get_running_loop().run_in_executor(self._workers, context.run, function, *arguments)

    def _log_text(self, text: str) -> None:
        if self.settings.log_text:
            print_log(f"{REQUEST_ID.get()} {text!r}", logger="current", level=logging.INFO)


class _Counted:
    """Bounds the requests whose bodies are in memory and not in the queue yet."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __enter__(self) -> None:
        if self.service._num_open >= self.service.limits.waiting:
            raise self.service.model.busy()
        self.service._num_open += 1

    def __exit__(self, *error: object) -> None:
        self.service._num_open -= 1


def make_app(model: ModelThread, settings: ServerSettings) -> FastAPI:
    """The application with its guards. It starts the thread of the model, and stops it.

    Args:
        model: the thread, not started yet.
        settings: of the server.

    Raises:
        ValueError: a host that is to be allowed is none.
    """
    service = Service(model, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        model.start()
        yield
        await asyncio.to_thread(model.stop, settings.drain_seconds)

    guards = [
        Middleware(LoggedRequests, service.metrics.ended),
        Middleware(KnownHostsOnly, KnownHosts(settings.host, settings.port, settings.allow_hosts, "server"), refuse),
        Middleware(KnownTokensOnly, settings.tokens),
        Middleware(BoundedRequests, settings.limits.body_bytes, "server", refuse),
    ]
    app = FastAPI(middleware=guards, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/v1/chat/completions", service.chat, methods=["POST"])
    app.add_api_route("/v1/segment", service.segment, methods=["POST"])
    app.add_api_route("/v1/models", service.models, methods=["GET"])
    app.add_api_route("/healthz", service.healthz, methods=["GET"])
    app.add_api_route("/metrics", service.prometheus, methods=["GET"])
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    return app


async def _api_error(request: Request, error: ApiError) -> Response:
    return JSONResponse(error.to_json(), error.status, dict(error.headers))


async def _http_error(request: Request, error: HTTPException) -> Response:
    return JSONResponse(ApiError(error.status_code, str(error.detail)).to_json(), error.status_code, error.headers)


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=499)
