"""The routes that the demo's page needs, and how much may be sent to each; the framework's others are closed."""

import re
from urllib.parse import parse_qsl, urlencode

from lira_plugin.web.asgi import App, Message, Receive, Send, answer
from lira_plugin.web.bounded_requests import BoundedRequests

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
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        kept = {name: value for name, value in query.items() if name in _QUERY}
        known_scope = {**scope, "query_string": urlencode(kept).encode()}
        await BoundedRequests(self.app, max_bytes, "demo")(known_scope, receive, send)
