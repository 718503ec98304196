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
from lira_plugin.datasets.transforms.region_views import CutViews

__all__ = [
    "ILVC",
    "CutViews",
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
