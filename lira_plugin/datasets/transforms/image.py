"""Transforms of the image: load, decode regions, tile, letterbox."""

import os
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.agreed import Disagreement, agreed, needed
from lira_plugin.datasets.transforms.image_faults import broken_kind
from lira_plugin.datasets.transforms.pixels import exif_advice, read_rgb
from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import (
    DataFault,
    ExifRule,
    FaultKind,
    InputSpec,
    Letterbox,
    Record,
    decode_union,
    kind_of,
    resize_image,
)


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the image of a record as RGB, with its EXIF orientation applied or ignored, as the record says.

    A file that is asked for several times in a row, as when several questions are about it, is read once.

    Required Keys:

    - record

    Optional Keys:

    - image (given already, as by an inferencer: left as it is)

    Added Keys:

    - image ((H, W, 3) uint8, or None for a record without an image)
    """

    def __init__(self) -> None:
        self._last: tuple[tuple[str, ExifRule, int, int], np.ndarray] | None = None

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load it.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: the file is no image, is cut off, or has another size than the annotation says.
        """
        record = results["record"]
        if results.get("image") is not None:
            return results
        results["image"] = None
        if record.image_path is None:
            return results
        name = f"{record.source} record {record.record_id}"
        try:
            results["image"] = self._read_image(record.image_path, record.exif)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{name}: no image at {record.image_path}; check image_root of the data set (docs/troubleshooting.md#no-image)"
            ) from error
        except (OSError, ValueError) as error:
            raise DataFault(
                broken_kind(record.image_path, error),
                f"{name}: {record.image_path} cannot be read as an image ({error}); fetch it again, or convert it",
            ) from error
        size = results["image"].shape[:2]
        if record.size is not None and tuple(record.size) != size:
            advice = exif_advice(record.image_path, record.size, record.exif)
            raise DataFault(
                FaultKind.EXIF_ORIENTATION if advice else FaultKind.IMAGE_SIZE,
                f"{name}: the annotation is for {record.size[0]}x{record.size[1]} pixels but {record.image_path} has "
                f"{size[0]}x{size[1]}{advice or '; the file belongs to another release of the data set, or was resized'}",
            )
        return results

    def _read_image(self, path: str, exif: ExifRule) -> np.ndarray:
        stat = os.stat(path)
        key = (path, exif, stat.st_mtime_ns, stat.st_size)
        if self._last is None or self._last[0] != key:
            self._last = (key, read_rgb(path, exif))
        return self._last[1]


@TRANSFORMS.register_module()
class DecodeRegions(BaseTransform):
    """Decode the regions of a record.

    Required Keys:

    - record
    - image

    Added Keys:

    - masks ((R, H, W) bool, in the order of ``record.regions``)
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode them.

        Raises:
            ValueError: an annotation does not fit the image.
        """
        record = results["record"]
        if not record.regions:
            results["masks"] = np.zeros((0, 1, 1), bool)
            return results
        height, width = results["image"].shape[:2]
        try:
            masks = [decode_union(region.segmentations, height, width) for region in record.regions]
        except ValueError as error:
            advice = _advice_of_masks(record, (height, width))
            kind = FaultKind.EXIF_ORIENTATION if advice else kind_of(error)
            if kind in (FaultKind.MASK_SIZE, FaultKind.MASK_OUTSIDE):
                advice = "; annotation and image do not belong together"
            raise DataFault(
                kind, f"{record.source} record {record.record_id} ({record.image_path}): {error}{advice}"
            ) from error
        results["masks"] = np.stack(masks)
        return results


def _advice_of_masks(record: Record, size: tuple[int, int]) -> str:
    """What to set where the masks are of the image's other orientation."""
    sizes = [part.get("size") for region in record.regions for part in region.segmentations if isinstance(part, dict)]
    turned = any(isinstance(own, list | tuple) and tuple(own) == size[::-1] for own in sizes)
    return exif_advice(record.image_path, size[::-1], record.exif) if turned and record.image_path else ""


def tile_grid(height: int, width: int, min_tiles: int, max_tiles: int, tile: int) -> tuple[int, int]:
    """Rows and columns of tiles for an image (``internvl_data.py:85-121``).

    Among all grids of ``min_tiles`` to ``max_tiles`` tiles, ordered by their count, the one whose aspect ratio is nearest;
    of several equally near ones a later one replaces the one before if the image has more than half of its pixels.
    """
    grids = sorted(
        {
            (rows, columns)
            for rows in range(1, max_tiles + 1)
            for columns in range(1, max_tiles + 1)
            if min_tiles <= rows * columns <= max_tiles
        },
        key=lambda grid: (grid[0] * grid[1], grid[1]),
    )
    best, best_distance = (1, 1), float("inf")
    for rows, columns in grids:
        distance = abs(width / height - columns / rows)
        large_enough = width * height > 0.5 * tile * tile * rows * columns
        if distance < best_distance or (distance == best_distance and large_enough):
            best, best_distance = (rows, columns), distance
    return best


def count_tiles(height: int, width: int, min_tiles: int, max_tiles: int, tile: int) -> int:
    """Tiles that :class:`TileImage` makes of an image, the thumbnail included; arguments as of :func:`tile_grid`."""
    rows, columns = tile_grid(height, width, min_tiles, max_tiles, tile)
    return rows * columns + (rows * columns > 1)


@TRANSFORMS.register_module()
class TileImage(BaseTransform):
    """Cut the image into tiles for the semantic encoder, row by row, with a thumbnail of the whole where there are several.

    Args:
        size: side of a tile; None takes the model's.
        min_tiles, max_tiles: bounds of the count of tiles, the thumbnail not counted. For a model without SEFE one is cut, as
            nothing reads more.

    Required Keys:

    - image

    Added Keys:

    - tiles ((T, 3, size, size) uint8 tensor)
    """

    def __init__(self, size: int | None = None, min_tiles: int = 1, max_tiles: int = 6) -> None:
        if not 1 <= min_tiles <= max_tiles:
            raise ValueError(f"need 1 <= min_tiles <= max_tiles, got {min_tiles} and {max_tiles}")
        self.size, self.min_tiles, self.max_tiles = size, min_tiles, max_tiles

    def fit_to_model(self, spec: InputSpec) -> None:
        """Take the size from the model, or compare it with it.

        Raises:
            Disagreement: see :func:`~lira_plugin.datasets.agreed.agreed`.
        """
        self.size = agreed("size", self.size, spec, "tile_size")
        if spec.semantic is False:
            self.min_tiles = self.max_tiles = 1

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Cut them."""
        image, size = results["image"], needed(self.size, self, "size")
        if image is None:
            results["tiles"] = torch.zeros((0, 3, size, size), dtype=torch.uint8)
            return results
        rows, columns = tile_grid(*image.shape[:2], self.min_tiles, self.max_tiles, size)
        resized = resize_image(image, rows * size, columns * size)
        tiles = resized.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
        if len(tiles) > 1:
            tiles = np.concatenate([tiles, resize_image(image, size, size)[None]])
        results["tiles"] = to_channels_first(tiles)
        return results


@TRANSFORMS.register_module()
class LetterboxImage(BaseTransform):
    """Pad the image to a centred square and resize it, for the pixel encoder; masks follow where there are some.

    Args:
        size: side of the square; None takes the model's.
        fill: colour of the padding, by default CLIP's mean.

    Required Keys:

    - image

    Optional Keys:

    - masks

    Added Keys:

    - pixel_images ((N, 3, size, size) uint8 tensor)
    - letterbox (:class:`Letterbox`)
    - square_masks ((R, size, size) bool tensor)
    - empty_regions (tuple of the regions without a pixel in the square: annotated without one, or too small to be seen there)
    """

    def __init__(self, size: int | None = None, fill: tuple[int, int, int] = (122, 116, 104)) -> None:
        self.size, self.fill = size, tuple(fill)

    def fit_to_model(self, spec: InputSpec) -> None:
        """Take the size from the model, or compare it with it.

        Raises:
            Disagreement: see :func:`~lira_plugin.datasets.agreed.agreed`; or pixel tokens do not divide the size.
        """
        self.size = agreed("size", self.size, spec, "image_size")
        if self.size is not None and spec.pixel_cell and self.size % spec.pixel_cell:
            raise Disagreement(
                f"size={self.size} is no multiple of {spec.pixel_cell}, the pixels along a pixel token of "
                f"{spec.settings['pixel_cell']}"
            )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Letterbox it."""
        image, size = results["image"], needed(self.size, self, "size")
        results["square_masks"] = torch.zeros((0, size, size), dtype=torch.bool)
        results["letterbox"], results["empty_regions"] = None, ()
        if image is None:
            results["pixel_images"] = torch.zeros((0, 3, size, size), dtype=torch.uint8)
            return results
        letterbox = results["letterbox"] = Letterbox(*image.shape[:2], size)
        results["pixel_images"] = to_channels_first(letterbox.apply_image(image, self.fill)[None])
        masks = results.get("masks")
        if masks is not None and len(masks):
            results["square_masks"] = torch.from_numpy(np.stack([letterbox.apply_mask(mask) for mask in masks]))
            seen = results["square_masks"].flatten(1).any(1).tolist()
            results["empty_regions"] = tuple(region for region, is_seen in enumerate(seen) if not is_seen)
        return results


def to_channels_first(images: np.ndarray) -> torch.Tensor:
    """(n, H, W, 3) uint8 array to (n, 3, H, W) uint8 tensor."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
