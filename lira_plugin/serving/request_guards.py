"""Who may ask, and what is written down of it."""

import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from hashlib import sha256
from time import monotonic

from mmengine.logging import print_log

from lira_plugin.serving.api_errors import refuse
from lira_plugin.web.asgi import App, Message, Receive, Send, text_headers

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request at hand."""
OPEN = ("/healthz",)
"""Paths that need no token."""
ROUTES = ("/v1/chat/completions", "/v1/segment", "/v1/models", "/healthz", "/metrics")
_NO_CONTENT = 499
"""The status that is written down where the client went before it had one."""


class KnownTokensOnly:
    """ASGI middleware: let those in who bring a known bearer token.

    Args:
        app: the application.
        tokens: those that are known; none lets everybody in.
    """

    def __init__(self, app: App, tokens: Sequence[str]) -> None:
        self.app = app
        self._known = [sha256(token.encode()).digest() for token in tokens]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] == "http" and self._known and scope["path"] not in OPEN and not self._is_known(scope):
            message = "the server needs a token that it knows: Authorization: Bearer ..."
            await refuse(send, 401, message, {"WWW-Authenticate": "Bearer"})
            return
        await self.app(scope, receive, send)

    def _is_known(self, scope: Message) -> bool:
        given = text_headers(scope["headers"], b"authorization")
        kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        digest = sha256(token.strip().encode("latin-1", "replace")).digest()
        equal = [hmac.compare_digest(digest, known) for known in self._known]  # all, so that time tells nothing
        return kind.lower() == "bearer" and any(equal)


class LoggedRequests:
    """ASGI middleware: give each request an id, and write a line about it into the log, without what it says.

    Args:
        app: the application.
        ended: is told of each request: route, status, seconds.
    """

    def __init__(self, app: App, ended: Callable[[str, int, float], None]) -> None:
        self.app, self.ended = app, ended

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, start, status = secrets.token_hex(12), monotonic(), _NO_CONTENT
        REQUEST_ID.set(request_id)

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (b"x-request-id", request_id.encode())]
                headers += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, named)
        finally:
            route = scope["path"] if scope["path"] in ROUTES else "other"
            seconds = monotonic() - start
            self.ended(route, status, seconds)
            level = logging.DEBUG if route in ("/healthz", "/metrics") else logging.INFO
            print_log(f"{request_id} {route} {status} {seconds:.3f} s", logger="current", level=level)
