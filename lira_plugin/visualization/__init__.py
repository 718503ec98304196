"""Pictures: masks over images, answers whose phrases have the colour of their mask, and figures made of both.

Everything is NumPy in and out: images are (H, W, 3) uint8 RGB, masks (H, W) bool.
"""

from lira_plugin.visualization.answer_picture import answer_picture
from lira_plugin.visualization.answers import answer_caption, answer_html, answer_row, span_labels
from lira_plugin.visualization.attribute_bars import attribute_row, bar_chart
from lira_plugin.visualization.colored_text import caption_height, label_masks, write_caption
from lira_plugin.visualization.figure import MIN_CELL_HEIGHT, Cell, PanelRow, panel
from lira_plugin.visualization.overlay import Color, draw_masks, palette, resize_mask, save_image
from lira_plugin.visualization.panels import draw_panels
from lira_plugin.visualization.visualizer import GroundingVisualizer
from lira_plugin.visualization.word_cloud import draw_word_cloud, word_counts

__all__ = [
    "MIN_CELL_HEIGHT",
    "Cell",
    "Color",
    "GroundingVisualizer",
    "PanelRow",
    "answer_caption",
    "answer_html",
    "answer_picture",
    "answer_row",
    "attribute_row",
    "bar_chart",
    "caption_height",
    "draw_masks",
    "draw_panels",
    "draw_word_cloud",
    "label_masks",
    "palette",
    "panel",
    "resize_mask",
    "save_image",
    "span_labels",
    "word_counts",
    "write_caption",
]
