"""A web page that loads nothing from elsewhere."""

import re

from lira_plugin.web.asgi import App, Message, Receive, Send, header

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
"""Content Security Policy; the framework writes styles and a script into the page itself."""

_FOREIGN = re.compile(
    rb"<(link|script)\b[^>]*?\b(?:href|src)\s*=\s*[\"'](?:https?:)?//[^>]*>(?:\s*</script>)?", re.IGNORECASE
)


class OwnOriginOnly:
    """ASGI middleware: pages lose scripts and links to other hosts, and browsers are told to load none.

    The policy alone would not do: browsers follow ``<link rel="preconnect">`` regardless of it.

    Args:
        app: the application.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message = {}
        page = bytearray()

        async def checked(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"content-security-policy", POLICY.encode())]
                message = {**message, "headers": headers}
                if header(headers, b"content-type").startswith(b"text/html"):
                    start = message
                    return
            elif start and message["type"] == "http.response.body":
                page.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = without_foreign_tags(bytes(page))
                rest = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
                await send({**start, "headers": [*rest, (b"content-length", str(len(body)).encode())]})
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self.app(scope, receive, checked)


def without_foreign_tags(page: bytes) -> bytes:
    """Take ``<link>`` and ``<script>`` elements that name another host out of a page."""
    return _FOREIGN.sub(b"", page)
