"""Opening a file as an image, of which nothing is trusted yet."""

import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")
"""What is read, by Pillow's names. It knows more, some of which start other programs (EPS) or are seldom looked after."""

BROKEN = (SyntaxError, EOFError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
BROKEN += (struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises of broken files, besides ``OSError`` and ``ValueError``."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(text: str) -> bool:
    """Whether a text begins as ``https://`` does, and so is no path."""
    return _ADDRESS.match(text) is not None


def open_image(path: str | Path, formats: Sequence[str] = IMAGE_FORMATS) -> Image.Image:
    """Open an image without decoding it.

    Args:
        path: of the file.
        formats: that it may have.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it is a folder, a FIFO, a socket or a device, or no image of these formats.
        PIL.Image.DecompressionBombError: its header says that it has more pixels than Pillow takes.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("it is no regular file")  # to open a FIFO would wait for its other end
    return Image.open(path, "r", formats)
