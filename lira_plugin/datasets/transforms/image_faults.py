"""What is wrong with an image file: not there, cut off, broken, of another size, or turned."""

import struct
from pathlib import Path

import numpy as np

from lira_plugin.datasets.transforms.pixels import exif_advice, header_size, needs_exif_decision, read_rgb
from lira_plugin.structures import DataFault, ExifRule, FaultKind

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_JPEG_END = b"\xff\xd9"


def broken_kind(path: str, error: Exception) -> FaultKind:
    """Whether a file that cannot be decoded is cut off, or broken otherwise."""
    if "truncated" in str(error).lower():
        return FaultKind.TRUNCATED_IMAGE
    if not Path(path).is_file():  # a FIFO would be waited for
        return FaultKind.UNDECODABLE_IMAGE
    try:
        content = Path(path).read_bytes()
    except OSError:
        return FaultKind.UNDECODABLE_IMAGE
    return FaultKind.TRUNCATED_IMAGE if _is_cut_off(content) else FaultKind.UNDECODABLE_IMAGE


def _is_cut_off(content: bytes) -> bool:
    """Whether the bytes end before their format says so; PNG and JPEG, of others Pillow says it."""
    if len(content) < len(_PNG):
        return _PNG.startswith(content) or content.startswith(_JPEG)
    if content.startswith(_JPEG):
        return not content.rstrip(b"\0").endswith(_JPEG_END)
    position = len(_PNG)
    if not content.startswith(_PNG):
        return False
    while position + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[position : position + 8])
        position += 12 + length
        if name == b"IEND":
            return position > len(content)
    return True


def image_fault(
    path: str, exif: ExifRule = "apply", decode: bool = True
) -> tuple[tuple[int, int] | None, DataFault | None]:
    """Look at an image file as a training would read it.

    Args:
        path: of the file.
        exif: as of :class:`~lira_plugin.datasets.GroundingDataset`.
        decode: decode the pixels, not the header alone.

    Returns:
        (height, width) as a training reads it, None where that cannot be told, and what is wrong with the file, if anything.
    """
    try:
        size = header_size(path, exif)
        if decode:
            pixels: np.ndarray = read_rgb(path, exif)
            size = pixels.shape[:2]
    except FileNotFoundError:
        return None, DataFault(
            FaultKind.MISSING_IMAGE, f"there is no image {path}; check image_root, or fetch the file"
        )
    except (OSError, ValueError) as error:
        what = f"{path} cannot be read as an image ({error}); fetch it again, or convert it"
        return None, DataFault(broken_kind(path, error), what)
    return tuple(map(int, size)), None


def size_fault(path: str, size: tuple[int, int], annotated: tuple[int, int] | None, exif: ExifRule) -> DataFault | None:
    """What is wrong with the size that is annotated for a sound file of (height, width) ``size``."""
    if annotated is None or tuple(annotated) == size:
        return None
    said = f"the annotation is for {annotated[0]}x{annotated[1]} pixels (height x width), but {path} has {size[0]}x{size[1]}"
    if advice := exif_advice(path, annotated, exif):
        return DataFault(FaultKind.EXIF_ORIENTATION, said + advice)
    return DataFault(FaultKind.IMAGE_SIZE, f"{said}; it is of another release of the data set, or was resized")


def open_orientation(path: str, annotated: tuple[int, int] | None, exif: ExifRule) -> DataFault | None:
    """An EXIF orientation of which nothing tells whether masks are drawn on the turned image or on the stored pixels."""
    if exif == "ignore" or not needs_exif_decision(path, annotated):
        return None
    return DataFault(
        FaultKind.EXIF_ORIENTATION,
        f"{path} has an EXIF orientation, and nothing tells whether its masks are of the upright image; look at it, and set "
        "exif='ignore' of the data set if they are of the stored pixels, or write the file anew without orientation",
    )
