"""Masks as clients ask for them, and spans with them."""

import base64
import binascii
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from lira_plugin.serving.chat_schema import MaskFormat
from lira_plugin.structures import GroundedSpan, decode_segmentation, encode_mask
from lira_plugin.structures.mask_shapes import coco_box, outlines
from lira_plugin.web.received_image import read_received

PNG_URL = "data:image/png;base64,"
"""How a mask in the format ``png`` begins."""


def written_mask(mask: np.ndarray, mask_format: MaskFormat) -> Any:
    """A (H, W) bool mask as COCO's compressed RLE, COCO's polygons, or a data URL of a PNG of 0 and 255."""
    if mask_format == "rle":
        return encode_mask(mask)
    if mask_format == "polygons":
        return outlines(mask)
    buffer = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return PNG_URL + base64.b64encode(buffer.getvalue()).decode("ascii")


def read_mask(content: Any, height: int, width: int, max_pixels: int) -> np.ndarray:
    """The (height, width) bool mask of any of the formats.

    Raises:
        ValueError: it is none, or of an image of another size.
    """
    if not isinstance(content, str):
        if not isinstance(content, Mapping | list):
            raise ValueError("a mask must be an RLE, a list of polygons, or a PNG in a data URL")
        return decode_segmentation(content, height, width)
    if not content.startswith(PNG_URL):
        raise ValueError("a mask that is a text must be a PNG in a data URL")
    try:
        png = base64.b64decode(content.removeprefix(PNG_URL), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the PNG of a mask is no base64") from None
    mask = read_received(png, max_pixels, "server")[..., 0] > 127
    if mask.shape != (height, width):
        raise ValueError(f"a mask has {mask.shape[0]}x{mask.shape[1]} pixels, the image {height}x{width}")
    return mask


def span_json(index: int, span: GroundedSpan, mask_format: MaskFormat) -> dict[str, Any]:
    """A span in plain types. ``mask`` is the refined one, once there is one; ``start`` and ``end`` count characters."""
    coarse = span.coarse_mask
    return {
        "index": index,
        "phrase": span.phrase,
        "start": span.start,
        "end": span.end,
        "score": span.score,
        "coarse_score": span.coarse_score,
        "refined": span.refined,
        "box": coco_box(span.mask),
        "mask": written_mask(span.mask, mask_format),
        "coarse_mask": None if coarse is None else written_mask(coarse, mask_format),
    }
