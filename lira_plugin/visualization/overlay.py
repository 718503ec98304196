"""Masks over images, and the colours that tell them apart."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

_BASE_PALETTE: tuple[Color, ...] = (
    (214, 40, 40),
    (25, 113, 194),
    (31, 138, 60),
    (148, 70, 200),
    (204, 98, 0),
    (0, 137, 150),
    (208, 42, 134),
    (121, 85, 61),
    (112, 128, 0),
)


def palette(n: int) -> list[Color]:
    """``n`` colours that differ and can be read as text on white (contrast of 3.5 or more).

    The first nine are fixed; each further one is the candidate farthest (in CIELAB) from those before it, so
    ``palette(n)`` begins with ``palette(n - 1)``. After some 200 the colours repeat.
    """
    if n < 0:
        raise ValueError(f"cannot choose {n} colours")
    colors = list(_BASE_PALETTE) if n <= len(_BASE_PALETTE) else _extended_palette()
    return [colors[index % len(colors)] for index in range(n)]


def draw_masks(
    image: np.ndarray, masks: Sequence[np.ndarray], colors: Sequence[Color] | None = None, *, alpha: float = 0.45
) -> np.ndarray:
    """Tint and outline regions; smaller masks come on top of larger ones.

    An outline lies inside of its mask. It is 1 pixel wide on images below 120 pixels and grows with the image; wider
    ones have a pale line along their inner side.

    Args:
        image: (H, W, 3) uint8, left as it is.
        masks: (H, W) bool each.
        colors: one a mask; ``palette(len(masks))`` where None.
        alpha: share of the colour in the tint, 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, a mask has another size, or the numbers of masks and colours
            differ.
    """
    check_image(image)
    colors = colors_for(len(masks), colors, "masks")
    for index, mask in enumerate(masks):
        if np.shape(mask) != image.shape[:2]:
            raise ValueError(f"mask {index} is {np.shape(mask)}, but the image is {image.shape[:2]}")
    binary = [np.asarray(mask).astype(bool) for mask in masks]
    order = sorted(range(len(masks)), key=lambda index: -np.count_nonzero(binary[index]))
    canvas = image.astype(np.float32)
    for index in order:
        _blend(canvas, colors[index], alpha * binary[index])
    thickness = max(1, round(min(image.shape[:2]) / 80))
    for index in order:
        depth = cv2.distanceTransform(binary[index].astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if thickness > 1:  # a pale line inside keeps the outline visible on an object of its own colour
            _blend(canvas, (255, 255, 255), 0.8 * (binary[index] & (depth < thickness + 1.5)))
        _blend(canvas, colors[index], binary[index] * np.clip(thickness + 1 - depth, 0, 1))
    return np.rint(canvas).astype(np.uint8)


def _blend(canvas: np.ndarray, color: Color, share: np.ndarray) -> None:
    """Move the pixels of a float canvas towards ``color`` by ``share``, (H, W), 0 to 1."""
    touched = share > 0
    weight = share[touched][:, None]
    canvas[touched] = canvas[touched] * (1 - weight) + np.float32(color) * weight


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 image; the suffix says the format, and missing folders are made.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, or Pillow does not know the suffix.
    """
    check_image(image)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def check_image(image: np.ndarray) -> None:
    """Raise a ValueError unless ``image`` is (H, W, 3) uint8."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image must be a (H, W, 3) uint8 array, got {got}")


def colors_for(count: int, colors: Sequence[Color] | None, what: str) -> list[Color]:
    """``colors``, or a palette where None; a ValueError where there is not one for each of the ``count`` things."""
    if colors is None:
        return palette(count)
    if len(colors) != count:
        raise ValueError(f"got {len(colors)} colours for {count} {what}")
    return [(int(red), int(green), int(blue)) for red, green, blue in colors]


@lru_cache(maxsize=1)
def _extended_palette() -> list[Color]:
    in_turn = [
        colorsys.hls_to_rgb(hue / 48, lightness, saturation)
        for hue in range(48)
        for lightness in (0.22, 0.32, 0.42, 0.52)
        for saturation in (0.55, 0.95)
    ]
    candidates: list[Color] = [
        (round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in in_turn
    ]
    candidates = [color for color in candidates if _contrast_with_white(color) >= 3.5]
    colors = list(_BASE_PALETTE)
    lab = _to_lab(candidates)
    distance = np.min(np.linalg.norm(lab[:, None] - _to_lab(colors)[None], axis=-1), axis=1)
    while distance.max() > 3:
        farthest = int(distance.argmax())
        colors.append(candidates[farthest])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[farthest], axis=-1))
    return colors


def _to_lab(colors: Sequence[Color]) -> np.ndarray:
    return cv2.cvtColor(np.float32([colors]) / 255, cv2.COLOR_RGB2LAB)[0]


def _contrast_with_white(color: Color) -> float:
    """WCAG 2 contrast ratio."""
    parts = np.array(color) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale an (H, W) mask to ``size``, which is (width, height); one that has a pixel keeps at least one."""
    values = np.asarray(mask).astype(bool).astype(np.float32)
    scale = size[0] / values.shape[1]
    scaled = cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scale > 1:
        scaled = cv2.GaussianBlur(scaled, (0, 0), scale / 2)  # rounds the stairs that enlarged pixels leave
    return scaled >= min(0.5, scaled.max()) if values.any() else np.zeros(scaled.shape, bool)
