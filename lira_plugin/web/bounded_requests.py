"""How much a request may bring, and what a client sees of an error."""

import logging
import traceback

from mmengine.logging import print_log

from lira_plugin.web.asgi import App, Message, Receive, Refuse, Send, answer, header


class BoundedRequests:
    """ASGI middleware: bound the size of a request's body, and keep errors of the application in the log.

    The size is looked at before anything is read, and counted while it comes.

    Args:
        app: the application.
        max_bytes: of a body.
        who: what the application calls itself in messages, such as ``demo``.
        refuse: answers a request that is refused.
    """

    def __init__(self, app: App, max_bytes: int, who: str, refuse: Refuse = answer) -> None:
        self.app, self.max_bytes, self.who, self.refuse = app, max_bytes, who, refuse

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = header(scope["headers"], b"content-length")
        too_large = f"The {self.who} takes {self.max_bytes / 1e6:.3g} megabytes at most."
        if length and (not length.isdigit() or int(length) > self.max_bytes):
            await self.refuse(send, 413, too_large)
            return
        count, started = 0, False

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > self.max_bytes:
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
                await self.refuse(send, 413, too_large)
        except Exception:
            message = f"{scope['method']} {scope['path']!r} failed:\n{traceback.format_exc()}"
            print_log(message, logger="current", level=logging.ERROR)
            if not started:
                await self.refuse(send, 500, f"The {self.who} could not answer; its log says why.")


class _TooLargeError(Exception):
    """More was sent than a request may have."""
