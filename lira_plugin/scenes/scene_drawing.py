"""Scenes: small images of coloured shapes, with masks and with sentences that are true of them by construction.

They take the place of the published data sets where those are not at hand: for tests, for examples, and for studies
of a small model from scratch. :mod:`lira_plugin.scenes.scene_files` writes them in the published formats.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from lira_plugin.scenes.scene_language import (
    CATEGORIES,
    Caption,
    Sentence,
    Thing,
    describe,
    refer,
)
from lira_plugin.scenes.scene_levels import DIAMETERS, LEVELS, MIN_OBJECTS, SceneLevel
from lira_plugin.scenes.scene_vqa import Question, ask

Background = Literal["plain", "photo"]

MIN_VISIBLE = 0.65
"""Share of its area that later objects leave of each object, at least."""
MIN_POLYGON_IOU = 0.96
"""Agreement with the mask from which on a polygon stands for it."""

_PAINT = {
    "red": (216, 36, 36),
    "green": (36, 160, 58),
    "blue": (44, 82, 226),
    "yellow": (246, 220, 44),
    "purple": (160, 50, 196),
    "orange": (246, 132, 24),
    "cyan": (60, 214, 226),
    "white": (244, 244, 244),
}
_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg")
ASPECTS = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.75))
"""(height, width) of an image over its longer side."""
_SUPERSAMPLING = 8  # fillPoly also paints the pixels that an edge only touches; eighths keep that small
_SUBPIXEL_BITS = 4
_PLACEMENTS = 40  # positions tried for an object before it is left out


@dataclass(frozen=True, eq=False)
class SceneObject(Thing):
    """An object of a scene.

    Args:
        diameter: longer side of the whole shape before rotation, in pixels.
        mask: (H, W) bool, the visible part.
        polygon: x, y, x, y, ... of the outline in pixels where the object has straight edges, nothing covers it,
            and it decodes to the mask; else None.
        bbox: (x, y, width, height) of the visible part.
        area: pixels of the visible part.
        full_area: pixels of the whole shape.
    """

    diameter: float
    mask: np.ndarray
    polygon: tuple[float, ...] | None
    bbox: tuple[int, int, int, int]
    area: int
    full_area: int


@dataclass(frozen=True, eq=False)
class Scene:
    """An image with all that is known about it.

    Args:
        image: (H, W, 3) uint8 RGB.
        objects: in drawing order: later ones cover earlier ones.
        sentences: up to three for each object, each true of that object only.
        caption: a caption with the objects that its phrases name.
        questions: questions with short answers.
    """

    image: np.ndarray
    objects: tuple[SceneObject, ...]
    sentences: tuple[tuple[Sentence, ...], ...]
    caption: Caption
    questions: tuple[Question, ...]


class _Shape(NamedTuple):
    """Outline with the longer side of its bounding box from -1 to 1; ``hole`` scales an inner outline to cut out."""

    outline: np.ndarray
    straight: bool
    hole: float = 0.0


def _fit(points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Centre the bounding box on the origin and scale its longer side to 2."""
    points = np.asarray(points, np.float64)
    low, high = points.min(0), points.max(0)
    return (points - (low + high) / 2) * (2 / (high - low).max())


def _make_shapes() -> dict[str, _Shape]:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    spikes = np.linspace(-np.pi / 2, 1.5 * np.pi, 10, endpoint=False)
    star = np.stack([np.cos(spikes), np.sin(spikes)], 1) * np.where(np.arange(10) % 2, 0.46, 1.0)[:, None]
    arm = 0.32
    cross = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
    cross += [(arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm)]
    shapes = {
        "circle": _Shape(circle, False),
        "square": _Shape(_fit([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.9, True),
        "triangle": _Shape(_fit([(0, -1), (1, 0.8), (-1, 0.8)]), True),
        "star": _Shape(_fit(star) * 1.06, True),
        "cross": _Shape(_fit(cross), True),
        "ring": _Shape(circle, False, 0.54),
    }
    return {category: shapes[category] for category in CATEGORIES}


_SHAPES = _make_shapes()


@functools.lru_cache(maxsize=1)
def load_photos() -> tuple[np.ndarray, ...]:
    """The colour photographs inside of scikit-image's wheel, RGB uint8, shorter side 256; nothing is downloaded.

    Raises:
        ImportError: scikit-image is not installed.
    """
    try:
        import skimage
    except ImportError as error:
        raise ImportError(
            "background='photo' takes its photographs from scikit-image, which is a development dependency: install "
            "scikit-image, pass your own images as `photos`, or use background='plain'"
        ) from error
    photos = []
    for name in _PHOTOS:
        path = Path(skimage.__file__).parent / "data" / name
        if not path.is_file():
            continue  # not in this version of the wheel
        image = np.asarray(Image.open(path).convert("RGB"))
        scale = 256 / min(image.shape[:2])
        photos.append(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    if not photos:
        raise ImportError(f"none of {', '.join(_PHOTOS)} is in the data folder of scikit-image {skimage.__version__}")
    return tuple(photos)


def make_scene(
    rng: np.random.Generator,
    size: int = 128,
    background: Background = "plain",
    photos: Sequence[np.ndarray] | None = None,
    level: SceneLevel = "full",
) -> Scene:
    """Draw a scene of two to six objects.

    Args:
        rng: makes all the choices; the same state gives the same scene.
        size: longer side of the image in pixels, at least 64; the other is as long or three quarters of it.
        background: ``plain``, a dim gradient with slight noise, or ``photo``, a dimmed crop of a photograph.
        photos: RGB uint8 photographs for ``photo``; :func:`load_photos` if None.
        level: ``easy`` has two or three objects of three shapes, each of another of four colours, and sentences without
            positions.

    Raises:
        ValueError: ``size`` is too small, or the background or the level is unknown.
        ImportError: ``photo`` without ``photos`` and without scikit-image.
    """
    if size < 64:
        raise ValueError(f"size must be at least 64 pixels, so that small objects can be told apart, got {size}")
    if background not in ("plain", "photo"):
        raise ValueError(f"background must be 'plain' or 'photo', got {background!r}")
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(map(repr, LEVELS))}, got {level!r}")
    height, width = (round(size * share) for share in ASPECTS[int(rng.random() * len(ASPECTS))])
    if background == "plain":
        image = plain_background(rng, height, width)
    else:
        image = _photo_background(rng, height, width, load_photos() if photos is None else photos)
    what = LEVELS[level]
    canvas = Canvas(image, diameters=what.diameters)
    while len(canvas.placed) < MIN_OBJECTS:
        for category, colour, words in what.choose_words(rng):
            if len(canvas.placed) < what.max_objects:
                canvas.put(rng, category, colour, words, size)
    objects = canvas.objects()
    sentences = refer(objects, (height, width), rng, what.sentences)
    caption = describe(objects, (height, width), rng)
    return Scene(image, objects, sentences, caption, ask(objects, sentences, size, rng))


def plain_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A dim gradient with slight noise, (height, width, 3) uint8."""
    base = 34 + 70 * rng.random()
    corners = base + rng.uniform(-18, 18, (2, 2, 1)) + rng.uniform(-8, 8, (2, 2, 3))
    image = cv2.resize(corners.clip(8, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    grain = rng.integers(0, 9, (height, width), dtype=np.uint8)
    return cv2.add(image, cv2.merge([grain, grain, grain]))


def _photo_background(rng: np.random.Generator, height: int, width: int, photos: Sequence[np.ndarray]) -> np.ndarray:
    photo = photos[int(rng.random() * len(photos))]
    fit = min(photo.shape[0] / height, photo.shape[1] / width)
    scale = fit * rng.uniform(0.4, 1.0)
    rows, columns = max(1, int(height * scale)), max(1, int(width * scale))
    top = int(rng.random() * (photo.shape[0] - rows + 1))
    left = int(rng.random() * (photo.shape[1] - columns + 1))
    crop = cv2.resize(photo[top : top + rows, left : left + columns], (width, height), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(crop, 0.30, grey, 0.20, 14)  # half as bright and less colourful than the objects


class _Placed(NamedTuple):
    category: str
    colour: str
    size: str
    diameter: float
    centre: tuple[float, float]
    outline: np.ndarray
    full_area: int


class Canvas:
    """An image being drawn, with the object that each pixel shows.

    Args:
        image: (H, W, 3) uint8, the background, which is drawn on.
        rim: width of the darker rim of an object, in pixels.
        diameters: range of the diameter for each size word, as a share of the longer side.
    """

    def __init__(
        self, image: np.ndarray, rim: int = 1, diameters: Mapping[str, tuple[float, float]] = DIAMETERS
    ) -> None:
        self.image, self.rim, self.diameters = image, rim, diameters
        self.owner = np.zeros(image.shape[:2], np.uint8)  # 0 is the background, k + 1 object k
        self.placed: list[_Placed] = []
        self.visible: list[int] = []  # pixels of each object

    def put(self, rng: np.random.Generator, category: str, colour: str, size: str, side: int) -> None:
        """Draw an object where enough of the others stays visible; leave it out where there is no room.

        It covers no object of its own colour: the border would be hard to see.
        """
        height, width = self.owner.shape
        draws = rng.random(4).tolist()
        low, high = self.diameters[size]
        diameter = (low + (high - low) * draws[0]) * side
        alpha, outline, centre = _draw_patch(category, diameter, (draws[1] - 0.5) * 0.4, draws[2], draws[3])
        rows, columns = alpha.shape
        inside = alpha > 127
        for down, right in rng.random((_PLACEMENTS, 2)).tolist():
            top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
            window = np.s_[top : top + rows, left : left + columns]
            covered = np.bincount(self.owner[window][inside], minlength=len(self.placed) + 1)[1:].tolist()
            if all(
                not lost or (seen - lost >= MIN_VISIBLE * placed.full_area and placed.colour != colour)
                for seen, lost, placed in zip(self.visible, covered, self.placed)
            ):
                break
        else:
            return
        self._paint(window, alpha, colour, rng)
        centre = (centre[0] + left, centre[1] + top)
        area = int(np.count_nonzero(inside))
        self.placed.append(_Placed(category, colour, size, diameter, centre, np.add(outline, (left, top)), area))
        self.visible = [seen - lost for seen, lost in zip(self.visible, covered)] + [area]
        self.owner[window][inside] = len(self.placed)

    def _paint(self, window: tuple[slice, slice], alpha: np.ndarray, colour: str, rng: np.random.Generator) -> None:
        """Blend a shape in: lighter at the top, with a darker rim."""
        paint = np.asarray(_PAINT[colour]) + rng.integers(-11, 12, 3)
        shade = np.arange(271, 231, -40 / len(alpha))[: len(alpha), None, None]  # of 256
        fill = (np.clip(paint * shade, 0, 65535).astype(np.uint16)) >> 8
        core = cv2.erode(alpha, None, iterations=self.rim, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        core = core[:, :, None].astype(np.uint16)
        colours = (fill * (core // 3 + 171)) >> 8  # the rim is two thirds as bright
        cover = alpha[:, :, None].astype(np.uint16)
        cover += cover >> 7  # 0 to 256
        patch = self.image[window]
        patch[:] = (patch * (256 - cover) + colours * cover) >> 8

    def objects(self) -> tuple[SceneObject, ...]:
        """The objects with what is visible of them."""
        found = []
        for index, placed in enumerate(self.placed):
            mask = self.owner == index + 1
            x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
            area = int(np.count_nonzero(mask))
            is_whole = _SHAPES[placed.category].straight and area == placed.full_area
            polygon = _polygon(placed.outline, mask) if is_whole else None
            found.append(
                SceneObject(
                    placed.category,
                    placed.colour,
                    placed.size,
                    placed.centre,
                    placed.diameter,
                    mask,
                    polygon,
                    (x, y, width, height),
                    area,
                    placed.full_area,
                )
            )
        return tuple(found)


def _polygon(outline: np.ndarray, mask: np.ndarray) -> tuple[float, ...] | None:
    """The outline as a flat polygon, or None where COCO's rasteriser, which rounds, would not give the mask back."""
    height, width = mask.shape
    polygon = np.round(outline, 2).ravel().tolist()
    decoded = coco_mask.decode(coco_mask.frPyObjects([polygon], height, width)[0]).view(bool)
    shared = np.count_nonzero(decoded & mask)
    union = np.count_nonzero(decoded) + np.count_nonzero(mask) - shared
    return tuple(polygon) if shared > MIN_POLYGON_IOU * union else None


def _draw_patch(
    category: str, diameter: float, angle: float, shift_x: float, shift_y: float
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Draw a shape alone: coverage (h, w) uint8 of a patch with a border of a pixel, its outline and centre (x, y)."""
    shape = _SHAPES[category]
    cosine, sine = np.cos(angle), np.sin(angle)
    points = shape.outline @ np.array([[cosine, sine], [-sine, cosine]]) * (diameter / 2)
    low = points.min(0)
    offset = np.array([shift_x, shift_y]) + 1 - low
    outline = points + offset
    columns, rows = (int(side) + 2 for side in outline.max(0))
    fine = np.zeros((rows * _SUPERSAMPLING, columns * _SUPERSAMPLING), np.uint8)
    _fill(fine, outline, 255)
    if shape.hole:
        _fill(fine, points * shape.hole + offset, 0)
    alpha = cv2.resize(fine, (columns, rows), interpolation=cv2.INTER_AREA)
    return alpha, outline, (float(offset[0]), float(offset[1]))


def _fill(fine: np.ndarray, outline: np.ndarray, value: int) -> None:
    scale = 1 << _SUBPIXEL_BITS
    points = np.round((outline * _SUPERSAMPLING - 0.5) * scale).astype(np.int32)
    cv2.fillPoly(fine, [points], value, shift=_SUBPIXEL_BITS)
