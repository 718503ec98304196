"""From image files of any kind to upright RGB of 8 bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image

from lira_plugin.datasets.image_file import BROKEN, open_image
from lira_plugin.structures import ExifRule

_BROKEN = (*BROKEN, cv2.error)
"""What the libraries raise of broken files, besides ``OSError`` and ``ValueError``."""

_ORIENTATION = 0x0112
"""EXIF's tag."""
_WIDTH, _LENGTH = 0x0100, 0x0101
"""TIFF's tags of columns and rows as stored."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright."""
_UNDONE_BY = {6: 8, 8: 6}
"""Orientations that others undo; the rest undo themselves."""
_FIRST_SIDEWAYS = 5
"""Orientations from here on swap height and width."""
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners give, in files of 16 bits a pixel."""
_UNMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
"""Modes whose colours are multiplied by their opacity, and those that they become."""

_said: set[str] = set()


@contextmanager
def _broken_as_value_errors() -> Iterator[None]:
    """So that callers need to expect ``OSError`` and ``ValueError`` alone."""
    try:
        yield
    except _BROKEN as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


@_broken_as_value_errors()
def read_rgb(path: str, exif: ExifRule = "apply") -> np.ndarray:
    """Read a file as (H, W, 3) uint8; of an animation its first picture.

    Raises:
        OSError: it is not there, is no image, is cut off, or is no regular file (a pipe would wait for ever).
        ValueError: it is broken otherwise, or see :func:`upright_rgb`.
    """
    with open_image(path) as image:
        pixels = upright_rgb(image, exif)
        if _has_further_pictures(image):
            _say_once("pictures", f"{path} has several pictures (an animation or pages), of which the first is read")
    return pixels


@_broken_as_value_errors()
def upright_rgb(image: Image.Image, exif: ExifRule = "apply") -> np.ndarray:
    """(H, W, 3) uint8 with the EXIF orientation applied, unless ``exif`` is ``ignore``. Opacity is dropped.

    Pixels of 16 bits have the least of 8, 10, 12, 14 and 16 bits that holds the largest value of the image, and the upper 8 of
    these are taken. ``ImageOps.exif_transpose`` would write all other tags anew, and fail where one of them is malformed.

    Raises:
        OSError: the file of the image is cut off.
        ValueError: it is broken otherwise, or the values of the pixels have no known range.
    """
    stated = exif_orientation(image) if image.format == "TIFF" else 1
    path, is_deep = getattr(image, "filename", ""), any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    image.load()  # some formats have their tags behind the pixels
    orientation = exif_orientation(image)
    if exif == "ignore":  # of a TIFF, Pillow has applied it by now, and forgotten it
        orientation = _UNDONE_BY.get(stated, stated) if stated != orientation else 1
    turn = _TURNS.get(orientation)
    if image.mode.startswith("I"):
        image = Image.fromarray(_upper_bits(np.asarray(image), path, image.mode))
        is_deep = False
    elif image.mode == "F":
        raise ValueError(f"its pixels (mode {image.mode}) are no values of 8 or 16 bits: convert it to those")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns of any other way
    elif image.mode in _UNMULTIPLIED:
        image = image.convert(_UNMULTIPLIED[image.mode])
    image = image.convert("RGB")
    if is_deep:
        image = _with_lower_bits(image, path)
    return np.array(image if turn is None else image.transpose(turn))


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is missing or malformed."""
    try:
        orientation: Any = image.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, *_BROKEN):
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def header_size(path: str, exif: ExifRule = "apply") -> tuple[int, int]:
    """(height, width) of what :func:`read_rgb` gives, from the header alone.

    Of a PNG without EXIF in front of its pixels, Pillow would decode these to look behind them: it is taken as upright.

    Raises:
        OSError, ValueError: see :func:`read_rgb`.
    """
    return _size_and_orientation(path, exif)[0]


def needs_exif_decision(path: str, size: tuple[int, int] | None = None) -> bool:
    """Whether a file is turned by its EXIF orientation, and nothing tells whether its annotations are.

    Orientations 5 to 8 swap height and width, so the annotated (height, width) tells, unless the image is square. Orientations 2
    to 4 mirror the image or turn it by 180 degrees and leave its size: nothing tells there, and ``exif`` of the data set must be
    set by somebody who has looked.

    Args:
        path: of the image.
        size: (height, width) that the annotation states, or None.

    Raises:
        OSError, ValueError: see :func:`read_rgb`.
    """
    (height, width), orientation = _size_and_orientation(path, "ignore")
    return orientation > 1 and (orientation < _FIRST_SIDEWAYS or height == width or size is None)


def exif_advice(path: str, annotated: tuple[int, int], exif: ExifRule) -> str:
    """What to set where an annotation is of a file's other orientation, as its (height, width) shows; else an empty text."""
    other: ExifRule = "ignore" if exif == "apply" else "apply"
    try:
        size, orientation = _size_and_orientation(path, exif)
    except (OSError, ValueError):
        return ""
    if orientation < _FIRST_SIDEWAYS or tuple(annotated) != size[::-1]:
        return ""
    now, meant = ("turned upright, as its EXIF orientation says", "of the stored pixels")
    if exif == "ignore":
        now, meant = ("read as stored, though it has an EXIF orientation", "of the upright image")
    return f" ({now}); its annotation is {meant}: set exif={other!r} of the data set"


@_broken_as_value_errors()
def _size_and_orientation(path: str, exif: ExifRule) -> tuple[tuple[int, int], int]:
    with open_image(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # whose size Pillow gives as it is when turned
            width, height = image.tag_v2[_WIDTH], image.tag_v2[_LENGTH]
        orientation = exif_orientation(image) if image.format != "PNG" or "exif" in image.info else 1
    turned = exif == "apply" and orientation >= _FIRST_SIDEWAYS
    return ((width, height) if turned else (height, width)), orientation


def _with_lower_bits(image: Image.Image, path: str) -> Image.Image:
    """Colours of 16 bits, of which Pillow has read the upper 8: read once more where these are dark, as fewer bits are used."""
    upper = np.asarray(image)
    if upper.max(initial=0) >= 2 ** (_DEPTHS[-2] - 8):
        return image
    whole = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if path else None
    if whole is None or whole.dtype != np.uint16 or whole.ndim != 3 or whole.shape[:2] != upper.shape[:2]:
        raise ValueError(
            "its colours have 16 bits, of which the upper 8 are dark, and the rest cannot be read: convert it"
        )
    colours = whole[..., 2::-1]
    if (colours >> 8 != upper).any():
        raise ValueError("its colours have 16 bits, and two libraries read them differently: convert it")
    return Image.fromarray(_upper_bits(colours, path, image.mode))


def _upper_bits(values: np.ndarray, path: str, mode: str) -> np.ndarray:
    """(H, W) or (H, W, 3) of at most 16 bits to uint8."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    depth = next((depth for depth in _DEPTHS if high < 2**depth), None)
    if depth is None or low < 0:
        raise ValueError(
            f"its pixels (mode {mode}, {low} to {high}) are no values of 8 or 16 bits: convert it to those"
        )
    if depth < _DEPTHS[-1]:
        name = path or "an image"
        _say_once(
            f"{depth} bits", f"{name} stores values of at most {high} in 16 bits a pixel: they are read as {depth} bits"
        )
    return (values >> (depth - 8)).astype(np.uint8)


def _has_further_pictures(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, *_BROKEN):  # of the second picture, which is not read
        return False


def _say_once(kind: str, message: str) -> None:
    if kind not in _said:
        _said.add(kind)
        print_log(f"{message} (said once; so are all others)", logger="current")
