"""Pictures: masks over images, answers whose phrases have the colour of their mask, and figures made of both.

Everything is NumPy in and out: images are (H, W, 3) uint8 RGB, masks (H, W) bool.
"""

from lira_plugin.visualization.caption import caption_height, write_caption
from lira_plugin.visualization.figure import MIN_CELL_HEIGHT, Cell, PanelRow, panel
from lira_plugin.visualization.overlay import Color, draw_masks, palette, save_image

__all__ = [
    "MIN_CELL_HEIGHT",
    "Cell",
    "Color",
    "PanelRow",
    "caption_height",
    "draw_masks",
    "palette",
    "panel",
    "save_image",
    "write_caption",
]
