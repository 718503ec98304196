"""Which hosts a server answers to: a web page of another host must not reach it through a visitor's browser."""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from lira_plugin.web.asgi import App, Headers, Message, Receive, Refuse, Send, answer, header, text_headers

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class KnownHosts:
    """The hosts that a request may name: loopback, the one that the server listens at, and those that were allowed.

    Args:
        host: where it listens. At every address (``0.0.0.0``, ``::``), the one that a request has reached counts too.
        port: of the server; a host that names another one is not known.
        allowed: further names such as ``demo.example`` (any port) or ``localhost:8080`` (that port).
        who: what the server calls itself in messages, such as ``demo``.

    Raises:
        ValueError: one of ``allowed`` is no host.
    """

    def __init__(self, host: str, port: int, allowed: Sequence[str] = (), who: str = "demo") -> None:
        self.host, self.port, self.who = normal_name(host), port, who
        self.is_wildcard = self.host in ("0.0.0.0", "::")
        self.allowed = []
        for given in allowed:
            parts = split_host(given)
            if parts is None:
                raise ValueError(f"{given!r} is no host: name one as demo.example, 192.168.1.5 or localhost:8080")
            self.allowed.append(parts)

    def __contains__(self, host: tuple[str, int | None]) -> bool:
        """Whether a name and port (None: not said) is known, see :func:`split_host`."""
        name, port = host
        if any(name == known and of in (None, port) for known, of in self.allowed):
            return True
        return port in (None, self.port) and (name == self.host or name == "localhost" or _is_loopback(name))

    def problem(self, headers: Headers, reached: str) -> str | None:
        """What is wrong with the host that a request names, if anything.

        Args:
            headers: of the request.
            reached: address of this machine that the request has come to.
        """
        named = text_headers(headers, b"host")
        host = split_host(named[0]) if len(named) == 1 else None
        if host is not None:
            at_reached = self.is_wildcard and host[0] == normal_name(reached) and host[1] in (None, self.port)
            if at_reached or host in self:
                return None
        shown = ", ".join(map(repr, named)) or "no host"
        return f"The {self.who} does not answer to {shown}. If this name is yours, start it with --allow-host."


def split_host(text: str) -> tuple[str, int | None] | None:
    """Name and port of ``name``, ``name:port`` or ``[address]:port``; None for anything else."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    return normal_name(match[1]), None if match[2] is None else int(match[2])


def normal_name(name: str) -> str:
    """A name in lower case, an address as Python writes it, without brackets."""
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        address = ip_address(bare)
    except ValueError:
        return bare.lower()
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class KnownHostsOnly:
    """ASGI middleware: refuse requests to unknown hosts or from pages of others, redirects to others, and web sockets.

    A page of another site that has made its name point at this machine (DNS rebinding) sends its own name as the host. Any
    other page that writes to this server sends its origin, and says that it is of another site.

    Args:
        app: the application.
        hosts: those that are known.
        refuse: answers a request that is refused.
    """

    def __init__(self, app: App, hosts: KnownHosts, refuse: Refuse = answer) -> None:
        self.app, self.hosts, self.refuse = app, hosts, refuse

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        reached = (scope.get("server") or ("", None))[0]
        problem = self.hosts.problem(headers, reached) or _foreign_page(scope["method"], headers, self.hosts.who)
        if problem:
            await self.refuse(send, 403, problem)
            return
        host = header(headers, b"host").decode("latin-1")
        refused = False

        async def checked(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
                refused = leads_elsewhere(header(message["headers"], b"location").decode("latin-1"), host)
                if refused:
                    await self.refuse(send, 403, f"The {self.hosts.who} sends nobody elsewhere.")
            if not refused:
                await send(message)

        # the framework would take a host from these in place of the one that was checked
        kept = [(key, value) for key, value in headers if not key.lower().startswith(b"x-forwarded-host")]
        await self.app({**scope, "headers": kept}, receive, checked)


def leads_elsewhere(location: str, host: str) -> bool:
    """Whether an address to go on to is of another host and port, as browsers read it."""
    try:
        parts = urlsplit(location.strip().replace("\\", "/"))
    except ValueError:
        return True
    return parts.netloc not in ("", host) or parts.scheme not in ("", "http", "https")


def _foreign_page(method: str, headers: Headers, who: str) -> str | None:
    """What is wrong with the page that a request comes from, if anything; scheme, name and port have to be the server's."""
    host = header(headers, b"host").decode("latin-1").lower()
    for origin in text_headers(headers, b"origin"):
        if origin.lower() not in (f"http://{host}", f"https://{host}"):
            return f"The {who} takes no requests from pages of {origin!r}."
    if header(headers, b"sec-fetch-site") in (b"cross-site", b"same-site"):
        asked = (header(headers, b"sec-fetch-mode"), header(headers, b"sec-fetch-dest"))
        if method != "GET" or asked != (b"navigate", b"document"):  # to follow a link to it is fine
            return f"The {who} takes no requests from pages of others."
    return None
