"""Masks as tables and folders hold them: JSON texts, PNG bytes, PNG files; each becomes a COCO form."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lira_plugin.datasets.entries import check_segmentation
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.image_file import BROKEN, open_image
from lira_plugin.datasets.mask_file import mask_file_rle
from lira_plugin.json_file import parse_json
from lira_plugin.structures import FaultKind, encode_mask, shown

IGNORED_VALUE = 255
"""What a label map holds where nobody says what is there."""
_PNG = b"\x89PNG\r\n\x1a\n"
_VALUES_OF_A_SQUARE = 10
"""Coordinates of a polygon around a square that ends where it begins."""
_DEEPEST = 4
"""Wrappings of a mask, such as an RLE in a JSON text in an object, that are opened."""


@dataclass(frozen=True)
class MaskFile:
    """A file with a mask, which is read when its record is.

    Args:
        path: of the file.
        value: of the pixels of a label map that are the mask; None for a mask (:mod:`~lira_plugin.datasets.mask_file`).
    """

    path: str
    value: int | None = None

    def read(self) -> tuple[Any, Any]:
        """The mask as RLE, and the RLE of ignored pixels or None.

        Raises:
            ValueError: the file is no such mask; the message names it.
        """
        try:
            if self.value is None:
                return mask_file_rle(self.path), None
            labels = read_labels(self.path)
        except (OSError, ValueError) as error:
            raise ValueError(f"the mask {self.path} cannot be used ({error}); repair or remove it") from error
        ignored = labels == IGNORED_VALUE
        return encode_mask(labels == self.value), encode_mask(ignored) if ignored.any() else None


@lru_cache(2)
def read_labels(path: str) -> np.ndarray:
    """Read a label map: (H, W), an integer a class. Of a palette PNG these are the indices, not the colours.

    Raises:
        OSError: it is not there or no image.
        ValueError: it is no picture of one integer a pixel, or broken.
    """
    try:
        with open_image(path, ("PNG",)) as image:
            if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
                raise ValueError(
                    f"a label map has one integer a pixel or a palette, but this PNG has mode {image.mode}: colours do not name "
                    "classes; write class values"
                )
            labels = np.array(image).astype(np.int64)
    except BROKEN as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    labels.setflags(write=False)  # shared by those who ask for the file again
    return labels


def to_segmentation(value: Any, depth: int = 0) -> Any:
    """A mask of a table as a COCO segmentation.

    Args:
        value: polygons, an RLE, a list of those; a JSON text or bytes of these; PNG bytes, also as ``{"bytes", "path"}``; lines
            of true and false, of 0 and 1, or of 0 and 255; an annotation with ``segmentation``.
        depth: of the wrapping that has been opened.

    Raises:
        BadRecord: it is nothing of these.
    """
    if depth > _DEEPEST or value is None:
        raise BadRecord(
            "there is no mask" if value is None else "the mask is wrapped too deep", "", FaultKind.SEG_MASK_MISMATCH
        )
    if isinstance(value, bytes) and value.startswith(_PNG):
        try:
            return mask_file_rle(value)
        except (OSError, ValueError) as error:
            raise BadRecord("the PNG of the mask cannot be used", str(error), FaultKind.UNDECODABLE_IMAGE) from None
    if isinstance(value, str | bytes):
        try:
            parsed = parse_json(value.decode() if isinstance(value, bytes) else value, "the mask")
        except ValueError:
            raise BadRecord("the mask is neither a PNG nor JSON", f"got {shown(value)}") from None
        if isinstance(parsed, str):
            raise BadRecord("the mask is a text in a text", f"got {shown(value)}")
        return to_segmentation(parsed, depth + 1)
    if isinstance(value, dict) and not {"size", "counts"} <= value.keys():
        for key in ("bytes", "segmentation"):
            if value.get(key) is not None:
                return to_segmentation(value[key], depth + 1)
    if isinstance(value, list) and (pixels := _pixels(value)) is not None:
        return encode_mask(pixels)
    if isinstance(value, list) and any(isinstance(part, bytes | str) for part in value):
        parts = [to_segmentation(part, depth + 1) for part in value]
        return [piece for part in parts for piece in (part if isinstance(part, list) else [part])]
    value = [_with_text(part) for part in value] if isinstance(value, list) else _with_text(value)
    try:
        check_segmentation("mask", value)
    except ValueError as error:
        raise BadRecord("the mask has no form that is read", str(error)) from None
    return value


def _with_text(value: Any) -> Any:
    """An RLE whose runs are a text, where they are bytes; anything else as it is."""
    if isinstance(value, dict) and isinstance(value.get("counts"), bytes):
        return {**value, "counts": value["counts"].decode("latin-1")}
    return value


def _pixels(value: list[Any]) -> np.ndarray | None:
    """Lines of pixels as (H, W) bool; None for what may be polygons or another form.

    Lines and polygons are both lists of numbers. No polygon reaches from 0 to 1 alone, and one with two values of coordinates has
    the corners of a square: five points, as it may end where it begins.

    Raises:
        BadRecord: it is neither lines of true and false, of 0 and 1 or of 0 and 255, nor polygons in pixels.
    """
    lines = value if value and all(isinstance(part, list) for part in value) else [value]
    if not all(line and all(isinstance(pixel, int | float) for pixel in line) for line in lines):
        return None
    values, lengths = set().union(*lines), {len(line) for line in lines}
    is_bool = all(isinstance(pixel, bool) for line in lines for pixel in line)
    if lines[0] is not value and (is_bool or (len(lines) > 1 and values <= {0, 1})):
        if len(lengths) > 1:
            raise BadRecord("the lines of the mask are not of one length", shown(sorted(lengths)))
        return np.array(lines, bool)
    if len(lines) > 1 and len(lengths) == 1 and values <= {0, 255}:
        return np.array(lines) == 255
    is_below_one = values != {0} and all(0 <= pixel <= 1 for pixel in values)
    is_two_values = len(values | {0}) <= 2 and max(lengths) > _VALUES_OF_A_SQUARE
    is_mostly_zero = (
        len(lines) > 2 and len(lengths) == 1 and 2 * sum(line.count(0) for line in lines) > len(lines) * max(lengths)
    )
    if is_bool or is_below_one or is_two_values or is_mostly_zero:
        raise BadRecord(
            "the mask is neither polygons in pixels nor lines of pixels that are 0 and 1 or 0 and 255",
            f"{len(lines)} lists of up to {max(lengths)} values such as {shown(sorted(values)[:4])}",
        )
    return None
