"""The routes that the demo's page needs, and how much may be sent to each; the framework's others are closed."""

import logging
import re
import traceback
from urllib.parse import parse_qsl, urlencode

from mmengine.logging import print_log

from lira_plugin.demo.asgi import App, Message, Receive, Send, answer, header

API = "/gradio_api"
JOIN, UPLOAD, FILE = f"{API}/queue/join", f"{API}/upload", f"{API}/file="
PROGRESS = f"{UPLOAD}_progress"
_READ = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(assets|static)/.+|"
    rf"{API}/(info|app_id|startup-events|upload_progress|theme\.css|queue/data|heartbeat/[\w-]+|file=.+)",
    re.DOTALL,
)
_WRITTEN = re.compile(rf"{JOIN}|{UPLOAD}|{API}/(cancel|reset)")
_QUERY = {"session_hash"}
"""Everything else in a query is dropped: of ``deep_link``, the framework would make the path of a file."""
_SMALL = 64 * 1024
"""Bytes of a request that uploads nothing; also what an upload has beside its file."""


class KnownRoutesOnly:
    """ASGI middleware: close the routes that the page does not need, and bound the size of requests.

    An error of the application is logged, and not shown: the framework would answer with the source code around it.

    Args:
        app: the application.
        max_bytes: of an upload.
    """

    def __init__(self, app: App, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        known = {"GET": _READ, "HEAD": _READ, "POST": _WRITTEN}.get(method)
        if known is None or not known.fullmatch(path):
            await answer(send, 404, "The demo has no such page.")
            return
        max_bytes = _SMALL + (self.max_bytes if path == UPLOAD else 0)
        length = header(scope["headers"], b"content-length")
        if length and (not length.isdigit() or int(length) > max_bytes):
            await answer(send, 413, _too_large(max_bytes))
            return
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        kept = {name: value for name, value in query.items() if name in _QUERY}
        await self._answer({**scope, "query_string": urlencode(kept).encode()}, receive, send, max_bytes)

    async def _answer(self, scope: Message, receive: Receive, send: Send, max_bytes: int) -> None:
        count, started = 0, False

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > max_bytes:
                raise _TooLargeError
            return message

        async def noticed(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noticed)
        except _TooLargeError:
            if not started:
                await answer(send, 413, _too_large(max_bytes))
        except Exception:
            message = f"{scope['method']} {scope['path']!r} failed:\n{traceback.format_exc()}"
            print_log(message, logger="current", level=logging.ERROR)
            if not started:
                await answer(send, 500, "The demo could not answer; its log says why.")


class _TooLargeError(Exception):
    """More was sent than a request may have."""


def _too_large(max_bytes: int) -> str:
    return f"The demo takes {max_bytes / 1e6:.3g} megabytes at most."
