"""What middlewares share: the types of ASGI, and how its messages are read and written."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Refuse = Callable[[Send, int, str], Awaitable[None]]
"""Answers a request that is refused: where to, the status, and why."""


def header(headers: Headers, name: bytes) -> bytes:
    """The first header of a name in lower case; empty if there is none."""
    return next((value for key, value in headers if key.lower() == name), b"")


def text_headers(headers: Headers, name: bytes) -> list[str]:
    """All headers of a name in lower case."""
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


async def answer(send: Send, status: int, text: str, kind: str = "text/plain") -> None:
    """Answer a request with a text of a MIME type."""
    body = text.encode("utf-8", "replace")
    headers = [(b"content-type", f"{kind}; charset=utf-8".encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
