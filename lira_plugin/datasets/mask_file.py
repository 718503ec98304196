"""Masks that are image files of their own, or the bytes of such files."""

import io
import os
from typing import Any

import numpy as np
from PIL import Image

from lira_plugin.datasets.image_file import BROKEN, IMAGE_FORMATS, open_image
from lira_plugin.structures import encode_mask

_LOSSY = ("JPEG", "WEBP", "GIF")
"""Formats that may change the values of pixels, so that the edge of a mask becomes noise."""


def read_mask_file(path: str | os.PathLike | bytes) -> np.ndarray:
    """Read a black and white image as a mask: a pixel belongs to it where any of its colours is not zero.

    Opacity does not count, unless the image is all black and opaque in parts: then these are the mask.

    Args:
        path: of the file, or the bytes of one.

    Returns:
        (H, W) bool.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, broken, or of a format that does not keep pixels as they are.
    """
    try:
        is_file = not isinstance(path, bytes)
        with open_image(path) if is_file else Image.open(io.BytesIO(path), "r", IMAGE_FORMATS) as image:
            if image.format in _LOSSY:
                raise ValueError(f"{image.format} changes the values of pixels: save masks as PNG")
            has_opacity = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            if image.mode in ("1", "L", "I", "I;16", "F") and not has_opacity:
                return np.asarray(image) != 0
            pixels = np.asarray(image.convert("RGBA"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no mask {path}") from None
    except (OSError, ValueError, *BROKEN) as error:
        raise ValueError(f"the mask {path if is_file else 'in the table'} cannot be read: {error}") from error
    colored = pixels[..., :3].any(axis=2)
    opaque = pixels[..., 3] > 0
    return colored if colored.any() or opaque.all() else opaque


def mask_file_rle(path: str | os.PathLike | bytes) -> dict[str, Any]:
    """The mask of a file as COCO RLE; see :func:`read_mask_file`."""
    return encode_mask(read_mask_file(path))
