"""Transforms, each doing one thing."""

from lira_plugin.datasets.transforms.conversation import ILVC, GroundedPart, ImagePart, TextPart
from lira_plugin.datasets.transforms.formatting import PackGroundingInputs, TokenizeConversation
from lira_plugin.datasets.transforms.image import (
    DecodeRegions,
    LetterboxImage,
    LoadImage,
    TileImage,
    tile_grid,
    upright_rgb,
)

__all__ = [
    "ILVC",
    "DecodeRegions",
    "GroundedPart",
    "ImagePart",
    "LetterboxImage",
    "LoadImage",
    "PackGroundingInputs",
    "TextPart",
    "TileImage",
    "TokenizeConversation",
    "tile_grid",
    "upright_rgb",
]
