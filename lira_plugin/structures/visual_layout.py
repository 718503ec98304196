"""Which rows the visual block of an image has in the LLM sequence."""

from dataclasses import dataclass

from lira_plugin.structures.grounding import RowKind


@dataclass(frozen=True)
class VisualLayout:
    """Row counts of the visual block ``[semantic | separator | pixel | separator | objects]``.

    Args:
        tokens_per_tile: semantic tokens of a tile, and region tokens of a crop.
        pixel_tokens: pixel tokens of an image.
        object_tokens: object queries of the segmenter; those it does not use are masked out later.
        semantic: whether semantic tokens stand in the block; False is "without SEFE", and the pretrain stage.
    """

    tokens_per_tile: int = 256
    pixel_tokens: int = 256
    object_tokens: int = 300
    semantic: bool = True

    def block(self, num_tiles: int) -> list[RowKind]:
        """Kinds of the rows of an image that was cut into ``num_tiles`` tiles."""
        return (
            [RowKind.SEMANTIC] * (self.tokens_per_tile * num_tiles * self.semantic)
            + [RowKind.SEMANTIC_SEPARATOR]
            + [RowKind.PIXEL] * self.pixel_tokens
            + [RowKind.PIXEL_SEPARATOR]
            + [RowKind.OBJECT] * self.object_tokens
        )

    @property
    def region(self) -> list[RowKind]:
        """Kinds of the rows that follow an ``<image_id>``."""
        return [RowKind.REGION] * self.tokens_per_tile
