"""How long the sequences of a recipe become."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lira_plugin.datasets.transforms.image import count_tiles
from lira_plugin.structures import RowKind, VisualLayout


@dataclass(frozen=True)
class ImageRows:
    """Rows of one image's visual block; ``objects`` counts all queries, of which the unused ones are masked out."""

    tiles: int
    semantic: int
    pixels: int
    objects: int
    separators: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.semantic + self.pixels + self.objects + self.separators


@dataclass(frozen=True)
class SequencePlan:
    """Settings of a data pipeline that decide lengths.

    Args:
        layout: rows of a visual block.
        max_text: text tokens at most.
        tile_size, min_tiles, max_tiles: see :class:`~lira_plugin.datasets.TileImage`.
    """

    layout: VisualLayout
    max_text: int
    tile_size: int
    min_tiles: int
    max_tiles: int

    @classmethod
    def of_pipeline(cls, pipeline: Mapping[str, Any]) -> "SequencePlan":
        """Read a recipe's pipeline, given by name, with its steps ``tokenize`` and ``tile``."""
        tile, tokenize = pipeline["tile"], pipeline["tokenize"]
        return cls(
            VisualLayout(**tokenize["layout"]),
            tokenize["max_length"],
            tile["size"],
            tile.get("min_tiles", 1),
            tile.get("max_tiles", 6),
        )

    def image(self, height: int, width: int) -> ImageRows:
        """Rows of an image of this size in pixels."""
        tiles = count_tiles(height, width, self.min_tiles, self.max_tiles, self.tile_size)
        kinds = self.layout.block(tiles)
        separators = kinds.count(RowKind.SEMANTIC_SEPARATOR) + kinds.count(RowKind.PIXEL_SEPARATOR)
        counts = (kinds.count(kind) for kind in (RowKind.SEMANTIC, RowKind.PIXEL, RowKind.OBJECT))
        return ImageRows(tiles, *counts, separators)

    def length(self, image: ImageRows, text: int, regions: int) -> int:
        """Rows of a sequence with one image."""
        return min(text, self.max_text) + image.total + regions * len(self.layout.region)

    def describe(self, sizes: list[tuple[int, int]]) -> dict[str, Any]:
        """As plain data, for images of these (height, width)."""
        images = {f"{width}x{height}": self.image(height, width) for height, width in sizes}
        return {
            "max_text": self.max_text,
            "region": len(self.layout.region),
            "images": {name: {**asdict(rows), "total": rows.total} for name, rows in images.items()},
        }
