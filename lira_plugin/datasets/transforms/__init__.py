"""Transforms, each doing one thing."""

from lira_plugin.datasets.transforms.cut_views import CutViews
from lira_plugin.datasets.transforms.det_inputs import ToDetInputs
from lira_plugin.datasets.transforms.ilvc import ILVC, GroundedPart, ImagePart, TextPart
from lira_plugin.datasets.transforms.image import (
    DecodeRegions,
    LetterboxImage,
    LoadImage,
    TileImage,
    tile_grid,
)
from lira_plugin.datasets.transforms.pack import PackGroundingInputs
from lira_plugin.datasets.transforms.pixels import needs_exif_decision, read_rgb, upright_rgb
from lira_plugin.datasets.transforms.tokenize import TokenizeConversation

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
    "ToDetInputs",
    "TokenizeConversation",
    "needs_exif_decision",
    "read_rgb",
    "tile_grid",
    "upright_rgb",
]
