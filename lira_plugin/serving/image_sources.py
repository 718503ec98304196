"""The image of a request: from a data URL, or from a host that is allowed. No file of the server is read by name."""

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from lira_plugin.inference.image_urls import TooLargeError, fetch_bytes
from lira_plugin.serving.api_errors import ApiError
from lira_plugin.serving.limits import Limits

_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40}(?:;[\w=.+-]{1,80})*;base64,", re.IGNORECASE | re.ASCII)
_PARAM = "image_url"
_FETCH_SECONDS = 10


class ImageSource:
    """Gets the bytes of images.

    Args:
        limits: how large they may be.
        allow_hosts: hosts that images may be fetched from, each ``name`` (the scheme's port) or ``name:port``.

    Raises:
        ValueError: one of ``allow_hosts`` is no host.
    """

    def __init__(self, limits: Limits, allow_hosts: Sequence[str] = ()) -> None:
        self.limits = limits
        self.allow_hosts = {_host(given) for given in allow_hosts}

    def read(self, url: str) -> bytes:
        """The file that a URL stands for.

        Raises:
            ApiError: it is no image, too large, at a host that is not allowed, or does not come.
        """
        if url[:5].lower() == "data:":
            return self._decode(url)
        scheme = url.partition(":")[0].lower()
        if scheme in ("http", "https"):
            return self._fetch(url)
        raise _refused(
            "an image must be a data URL such as data:image/png;base64,...; no file of the server is read by name"
        )

    def _decode(self, url: str) -> bytes:
        start = _DATA_URL.match(url[:256])
        if start is None:
            raise _refused("the data URL of an image must begin as data:image/png;base64,")
        if (len(url) - start.end()) * 3 / 4 > self.limits.image_bytes + 3:
            raise self._too_large()
        try:
            return base64.b64decode(url[start.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise _refused("the data URL of an image is no base64") from None

    def _fetch(self, url: str) -> bytes:
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}[parts.scheme]
        except ValueError:
            raise _refused("the address of the image cannot be read") from None
        allowed = {
            (name, host[1] if port is None else port) for name, port in self.allow_hosts if port or _is_usual(parts)
        }
        if host not in allowed or parts.username is not None or parts.password is not None:
            raise _refused(
                "the server fetches no image from there: send it as a data URL, or start the server with --allow-image-host"
            )
        try:
            return fetch_bytes(
                url, self.limits.image_bytes, _FETCH_SECONDS, follow=False
            )  # a host could lead elsewhere
        except TooLargeError:
            raise self._too_large() from None
        except OSError as error:
            raise _refused(f"the image could not be fetched ({error})") from None

    def _too_large(self) -> ApiError:
        megabytes = self.limits.image_bytes / 1e6
        return ApiError(
            413, f"an image may have {megabytes:.3g} megabytes at most", param=_PARAM, code="image_too_large"
        )


def _refused(message: str) -> ApiError:
    return ApiError(400, message, param=_PARAM, code="invalid_image")


def _is_usual(parts: object) -> bool:
    """Whether an address names no port, or the usual one of its scheme."""
    return parts.port in (None, {"http": 80, "https": 443}[parts.scheme])


def _host(given: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?", given)
    if match is None:
        raise ValueError(f"{given!r} is no host: name one as images.example or localhost:8080")
    return match[1].strip("[]").lower(), None if match[2] is None else int(match[2])
