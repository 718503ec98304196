"""Images that a stranger has sent."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from lira_plugin.datasets.image_file import BROKEN, open_image
from lira_plugin.datasets.transforms import upright_rgb

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""What strangers may send, by Pillow's names."""


def read_received(image: str | Path | bytes, max_pixels: int, who: str) -> np.ndarray:
    """Read an image that a stranger has sent: (H, W, 3) uint8, upright.

    Args:
        image: its file, or what is in one.
        max_pixels: that it may have, which is found out before it is decoded.
        who: what the application calls itself in messages, such as ``demo``.

    Raises:
        ValueError: it cannot be read as an image of ``FORMATS``, or has more than ``max_pixels``.
    """
    at_most = f"pixels, the {who} takes {max_pixels / 1e6:.3g} megapixels at most"
    try:
        with _opened(image) as opened:
            width, height = opened.size
            if width * height <= max_pixels:
                return upright_rgb(opened)
    except Image.DecompressionBombError as error:  # Pillow has a limit of its own
        raise ValueError(f"the image has far too many {at_most}") from error
    except (OSError, ValueError, *BROKEN) as error:
        raise ValueError("the file cannot be read as an image (PNG, JPEG, WebP, BMP or GIF)") from error
    raise ValueError(f"the image has {width} x {height} {at_most}")


def _opened(image: str | Path | bytes) -> Image.Image:
    return Image.open(BytesIO(image), "r", FORMATS) if isinstance(image, bytes) else open_image(image, FORMATS)
