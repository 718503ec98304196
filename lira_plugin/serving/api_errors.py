"""Errors as OpenAI's clients read them."""

import json
from collections.abc import Mapping
from typing import Any

from lira_plugin.web.asgi import Send

_KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 413: "invalid_request_error"}


class ApiError(Exception):
    """A request that gets an error for an answer.

    Args:
        status: of HTTP.
        message: what is wrong, and the way out.
        param: the part of the request that is wrong.
        code: a word for programs.
        retry_after: seconds after which to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers: Mapping[str, str] = {} if retry_after is None else {"Retry-After": str(retry_after)}

    def to_json(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


async def refuse(send: Send, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
    """Answer with an error, below the web framework."""
    await send_json(send, status, ApiError(status, message).to_json(), headers)


async def send_json(send: Send, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
    """Answer with JSON, below the web framework."""
    body = json.dumps(content, ensure_ascii=True, allow_nan=False).encode()
    own = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    own += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})
