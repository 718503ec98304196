"""Images from the network: which addresses are fetched, and what is behind one, bounded in size and time."""

import io
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from lira_plugin.datasets.image_file import BROKEN, IMAGE_FORMATS
from lira_plugin.datasets.transforms import upright_rgb

MAX_BYTES = 64_000_000
"""Of an image that is fetched."""
MAX_SECONDS = 30.0
"""Until all of it is there."""

_SCHEMES = ("http", "https")
_PIECE = 1 << 16


class TooLargeError(ValueError):
    """What is behind an address has more bytes than are allowed."""


@dataclass(frozen=True)
class RemoteImage:
    """An image at an address that may be fetched.

    Args:
        url: its address.
        fetch: gets its pixels.
    """

    url: str
    fetch: Callable[[str], np.ndarray] = field(repr=False)

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright; see :func:`fetch_image`."""
        return self.fetch(self.url)


def check_address(url: str, allowed: bool) -> None:
    """Refuse an address that is not to be fetched.

    Raises:
        ValueError: none is allowed, or it is not of HTTP.
    """
    if url.partition(":")[0].lower() not in _SCHEMES:
        raise ValueError(f"{url!r:.200} is neither an http(s) address nor the path of a file")
    if not allowed:
        raise ValueError(
            f"{url!r:.200} is an address in the network, and nothing is fetched unless you say so: "
            "LIRAInferencer(..., allow_urls=True), or lira infer --allow-urls"
        )


def fetch_image(url: str) -> np.ndarray:
    """Get an image by HTTP: (H, W, 3) uint8 RGB, upright. At most ``MAX_BYTES`` in ``MAX_SECONDS``.

    Raises:
        OSError: it could not be fetched.
        ValueError: it is no image that is read, or too large.
    """
    try:
        content = fetch_bytes(url, MAX_BYTES, MAX_SECONDS, follow=True)
    except OSError as error:
        raise OSError(f"{url} could not be fetched ({error})") from error
    try:
        return upright_rgb(Image.open(io.BytesIO(content), "r", IMAGE_FORMATS))
    except (OSError, ValueError, *BROKEN) as error:
        raise ValueError(f"{url} cannot be read as an image ({error})") from error


def fetch_bytes(url: str, max_bytes: int, max_seconds: float, *, follow: bool) -> bytes:
    """Get what is behind an address of HTTP.

    Args:
        url: the address.
        max_bytes: that it may have.
        max_seconds: until all of it has to be there.
        follow: go where the server sends us on to, by HTTP.

    Raises:
        OSError: it could not be fetched; the message says in short why.
        TooLargeError: it has more bytes.
    """
    opener = urllib.request.build_opener(_HttpRedirects if follow else _NoRedirects)
    content, end = bytearray(), monotonic() + max_seconds
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "lira", "Accept": "image/*"})
        with opener.open(request, timeout=max_seconds) as answer:
            while piece := answer.read1(_PIECE):
                content += piece
                if monotonic() > end:
                    raise TimeoutError
                if len(content) > max_bytes:
                    raise TooLargeError(f"{url} has more than {max_bytes / 1e6:.3g} megabytes")
    except TooLargeError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        reason = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        raise OSError(reason) from error
    return bytes(content)


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to addresses of HTTP alone; urllib would follow to FTP as well."""

    def redirect_request(self, request, answer, code, message, headers, url):  # type: ignore[no-untyped-def]
        if urlsplit(url).scheme.lower() not in _SCHEMES:
            return None
        return super().redirect_request(request, answer, code, message, headers, url)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An allowed host could send the server to one that is not allowed."""

    def redirect_request(self, *args: object) -> None:
        return None
