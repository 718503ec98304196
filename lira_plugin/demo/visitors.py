"""Who may have what: a browser is known by a cookie, and gets its own files and chats only."""

import asyncio
import hashlib
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from lira_plugin.demo.known_routes import API, FILE, JOIN, PROGRESS, UPLOAD
from lira_plugin.demo.visitor_files import VisitorFiles
from lira_plugin.web.asgi import App, Headers, Message, Receive, Send, answer, header
from lira_plugin.web.json_object import read_object

COOKIE = "lira_demo_visitor"
_COOKIE = re.compile(rf"(?:^|;)\s*{COOKIE}=([\w-]+)\s*(?:;|$)", re.ASCII)
_SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
_MAX_SESSIONS = 10_000
_MAX_UPLOADS = 16
"""At the same time: they are not among the visitors' files yet, whose count and size are bounded."""
_UPLOAD_SECONDS = 120
"""That an upload may take."""


def visitor_of(cookie: str) -> str:
    """Letters and digits for the visitor whose cookie header is given; those without a cookie are one visitor."""
    found = _COOKIE.search(cookie)
    return hashlib.sha256(found[1].encode() if found else b"").hexdigest()[:32]


class OwnThingsOnly:
    """ASGI middleware: takes uploads, and lets each visitor have own files, own chats and well-formed events only.

    Args:
        app: the application.
        files: those of all visitors.
        inputs: count of inputs of each function that an event may call.
    """

    def __init__(self, app: App, files: VisitorFiles, inputs: Mapping[int, int]) -> None:
        self.app, self.files, self.inputs = app, files, inputs
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._num_uploads = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        visitor = visitor_of(header(scope["headers"], b"cookie").decode("latin-1"))
        if path == "/":
            await self.app(scope, receive, _with_cookie(scope["headers"], send))
        elif path == UPLOAD:
            await self._upload_in_time(scope, receive, send, visitor)
        elif path == PROGRESS:  # the page asks for it beside an upload, which is done soon
            await answer(send, 200, 'data: {"msg": "done"}\n\n', "text/event-stream")
        elif path.startswith(FILE):
            if self.files.may_have(visitor, path.removeprefix(FILE)):
                await self.app(scope, receive, send)
            else:
                await answer(send, 404, "The demo has no such file for you.")
        elif scope["method"] == "POST":
            await self._post(scope, receive, send, visitor)
        else:
            session = re.fullmatch(rf"{API}/heartbeat/(.*)", path)
            session = session[1] if session else Request(scope).query_params.get("session_hash")
            if session is None or self._owns(session, visitor):
                await self.app(scope, receive, send)
            else:
                await answer(send, 403, "This is not your chat.")

    def _owns(self, session: Any, visitor: str) -> bool:
        """Whether a chat is the visitor's; it is of the one who names it first."""
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            return False
        owner = self._owners.setdefault(session, visitor)
        self._owners.move_to_end(session)
        if len(self._owners) > _MAX_SESSIONS:
            self._owners.popitem(last=False)
        return owner == visitor

    async def _upload_in_time(self, scope: Message, receive: Receive, send: Send, visitor: str) -> None:
        if self._num_uploads >= _MAX_UPLOADS:
            await answer(send, 503, "Too many others are uploading; try again.")
            return
        self._num_uploads += 1
        try:
            await asyncio.wait_for(self._upload(scope, receive, send, visitor), _UPLOAD_SECONDS)
        except asyncio.TimeoutError:
            await answer(send, 408, f"The upload has taken more than {_UPLOAD_SECONDS} seconds.")
        finally:
            self._num_uploads -= 1

    async def _upload(self, scope: Message, receive: Receive, send: Send, visitor: str) -> None:
        try:
            async with Request(scope, receive).form(max_files=1, max_fields=1) as form:
                file = form.get("files")
                if file is None or isinstance(file, str):
                    await answer(send, 400, "Upload one file.")
                    return
                path = await run_in_threadpool(self.files.save, visitor, file.filename or "", file.file)
        except ClientDisconnect:
            return
        except (HTTPException, MultiPartException, ValueError, AssertionError) as error:
            await answer(send, 400, f"The upload cannot be taken: {getattr(error, 'detail', error)}")
        except OSError:
            await answer(send, 507, "The demo has no room for the upload.")
        else:
            await answer(send, 200, json.dumps([str(path)]), "application/json")

    async def _post(self, scope: Message, receive: Receive, send: Send, visitor: str) -> None:
        """An event or the end of one: what the framework gets is written anew from what was read."""
        if not header(scope["headers"], b"content-type").lower().startswith(b"application/json"):
            await answer(send, 415, "The demo takes JSON here.")  # which a form on a page of others cannot send
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        try:
            content = read_event(body, self.inputs) if scope["path"] == JOIN else read_object(body)
        except ValueError as error:
            await answer(send, 422, f"The demo does not understand the request: {error}")
            return
        if "session_hash" in content and not self._owns(content["session_hash"], visitor):
            await answer(send, 403, "This is not your chat.")
            return
        body = json.dumps(content).encode()
        headers = [(key, value) for key, value in scope["headers"] if key.lower() not in _OF_BODY]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def rewritten() -> Message:
            return next(messages, None) or await receive()

        await self.app({**scope, "headers": headers}, rewritten, send)


_OF_BODY = {b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"}


def read_event(body: bytes, inputs: Mapping[int, int]) -> dict[str, Any]:
    """What a page asks for: ``session_hash``, ``fn_index``, ``data`` and ``trigger_id``; other keys are left out.

    Args:
        body: JSON.
        inputs: count of inputs of each function.

    Raises:
        ValueError: it is something else.
    """
    content = read_object(body)
    function, data, trigger = (content.get(name) for name in ("fn_index", "data", "trigger_id"))
    if type(function) is not int or function not in inputs:
        raise ValueError(f"fn_index must be one of {sorted(inputs)}, got {str(function)[:40]!r}")
    if not isinstance(data, list) or len(data) != inputs[function]:
        raise ValueError(f"data must be a list of {inputs[function]} values")
    if trigger is not None and type(trigger) is not int:
        raise ValueError("trigger_id must be a whole number")
    return {"session_hash": content.get("session_hash"), "fn_index": function, "data": data, "trigger_id": trigger}


def _with_cookie(headers: Headers, send: Send) -> Send:
    """Give a visitor without a cookie one, together with the page."""
    known = _COOKIE.search(header(headers, b"cookie").decode("latin-1"))

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and not known:
            cookie = f"{COOKIE}={secrets.token_urlsafe(16)}; Path=/; HttpOnly; SameSite=Lax"
            message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
        await send(message)

    return sent
