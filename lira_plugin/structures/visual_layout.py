"""Which positions the visual block of an image has in the sequence."""

from dataclasses import dataclass

from lira_plugin.structures.grounding import TokenKind

_PUBLISHED = {"tokens_per_tile": 256, "pixel_tokens": 256, "object_tokens": 300}
"""LIRA's own counts."""


@dataclass(frozen=True)
class VisualLayout:
    """Counts of the positions of the visual block ``[semantic | separator | pixel | separator | objects]``.

    With no count given it is LIRA's published block: 256, 256 and 300. A layout that gives any count holds what it names:
    ``VisualLayout(tokens_per_tile=64)`` has semantic tokens alone. The first separator stands before pixel or object tokens, the
    second between the two, so that a block of one kind has none.

    Args:
        tokens_per_tile: semantic tokens of a tile, and region tokens of a crop; 256 where it is not given.
        pixel_tokens: pixel tokens of an image.
        object_tokens: object queries of the segmenter; those it does not use are masked out later.
        semantic: whether semantic tokens stand in the block; False is "without SEFE", and the pretrain stage.

    Raises:
        ValueError: a count is negative.
    """

    tokens_per_tile: int | None = None
    pixel_tokens: int | None = None
    object_tokens: int | None = None
    semantic: bool = True

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in _PUBLISHED if getattr(self, name) is not None}
        for name, count in given.items():
            if count < 0:
                raise ValueError(f"{name} of a visual layout must not be negative, got {count!r}")
        left_out = {"tokens_per_tile": _PUBLISHED["tokens_per_tile"], "pixel_tokens": 0, "object_tokens": 0}
        for name, count in ((left_out if given else _PUBLISHED) | given).items():
            object.__setattr__(self, name, count)

    def block(self, num_tiles: int) -> list[TokenKind]:
        """Kinds of the positions of an image that was cut into ``num_tiles`` tiles."""
        return (
            [TokenKind.SEMANTIC] * (self.tokens_per_tile * num_tiles * self.semantic)
            + [TokenKind.SEMANTIC_SEPARATOR] * bool(self.pixel_tokens or self.object_tokens)
            + [TokenKind.PIXEL] * self.pixel_tokens
            + [TokenKind.PIXEL_SEPARATOR] * bool(self.pixel_tokens and self.object_tokens)
            + [TokenKind.OBJECT] * self.object_tokens
        )

    @property
    def view(self) -> list[TokenKind]:
        """Kinds of the positions that follow an ``<image_id>``."""
        return [TokenKind.VIEW] * self.tokens_per_tile
