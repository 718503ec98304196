"""How long the sequences of a recipe become."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lira_plugin.datasets import fit_to_model
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.datasets.transforms.image import count_tiles
from lira_plugin.structures import InputSpec, TokenKind, VisualLayout


@dataclass(frozen=True)
class ImagePositions:
    """Positions of one image's visual block; ``objects`` counts all queries, of which the unused ones are masked out."""

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
        layout: positions of a visual block.
        max_text: text tokens at most.
        tile_size, min_tiles, max_tiles: see :class:`~lira_plugin.datasets.TileImage`.
        view_share: share of the samples with views.
    """

    layout: VisualLayout
    max_text: int
    tile_size: int
    min_tiles: int
    max_tiles: int
    view_share: float = 1.0

    @classmethod
    def of_pipeline(cls, pipeline: Mapping[str, Any], spec: InputSpec) -> "SequencePlan":
        """Read a recipe's pipeline, given by name, as it is for a model that asks for ``spec``.

        The model's tokenizer is taken in any case, for files that the pipeline names may be missing.

        Raises:
            ValueError: the pipeline contradicts the model.
        """
        steps = {name: pipeline[name] for name in ("letterbox", "interleave", "tile", "tokenize")}
        steps["tokenize"] = {**steps["tokenize"], "tokenizer": None}
        built = fit_to_model(build_pipeline(steps), spec, "train_dataloader.dataset.pipeline")
        _, interleave, tile, tokenize = built.transforms
        bounds = (tile.size, tile.min_tiles, tile.max_tiles)
        return cls(tokenize.layout, tokenize.max_length, *bounds, interleave.view_share)

    def image(self, height: int, width: int) -> ImagePositions:
        """Positions of an image of this size in pixels."""
        tiles = count_tiles(height, width, self.min_tiles, self.max_tiles, self.tile_size)
        kinds = self.layout.block(tiles)
        separators = kinds.count(TokenKind.SEMANTIC_SEPARATOR) + kinds.count(TokenKind.PIXEL_SEPARATOR)
        counts = (kinds.count(kind) for kind in (TokenKind.SEMANTIC, TokenKind.PIXEL, TokenKind.OBJECT))
        return ImagePositions(tiles, *counts, separators)

    def length(self, image: ImagePositions, text: int, regions: int) -> int:
        """Positions of a sequence with one image."""
        return min(text, self.max_text) + image.total + regions * len(self.layout.view)

    def describe(self, sizes: list[tuple[int, int]]) -> dict[str, Any]:
        """As plain data, for images of these (height, width)."""
        images = {f"{width}x{height}": self.image(height, width) for height, width in sizes}
        return {
            "max_text": self.max_text,
            "region": len(self.layout.view),
            "images": {name: {**asdict(counts), "total": counts.total} for name, counts in images.items()},
        }
