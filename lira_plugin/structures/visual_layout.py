"""Which positions the visual block of an image has in the sequence."""

from dataclasses import dataclass

from lira_plugin.structures.grounding import TokenKind


@dataclass(frozen=True)
class VisualLayout:
    """Counts of the positions of the visual block ``[semantic | separator | pixel | separator | objects]``.

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

    def block(self, num_tiles: int) -> list[TokenKind]:
        """Kinds of the positions of an image that was cut into ``num_tiles`` tiles."""
        return (
            [TokenKind.SEMANTIC] * (self.tokens_per_tile * num_tiles * self.semantic)
            + [TokenKind.SEMANTIC_SEPARATOR]
            + [TokenKind.PIXEL] * self.pixel_tokens
            + [TokenKind.PIXEL_SEPARATOR]
            + [TokenKind.OBJECT] * self.object_tokens
        )

    @property
    def view(self) -> list[TokenKind]:
        """Kinds of the positions that follow an ``<image_id>``."""
        return [TokenKind.VIEW] * self.tokens_per_tile
