"""The records on which two models differ most, as one figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lira_plugin.datasets.transforms import read_rgb
from lira_plugin.evaluation.paired import Change
from lira_plugin.evaluation.refer_lines import ReferProtocol, read_masks
from lira_plugin.visualization.figure import Cell, PanelRow, panel


def draw_changes(
    changes: Sequence[Change],
    first: Mapping[str, Mapping[str, Any]],
    second: Mapping[str, Mapping[str, Any]],
    protocol: ReferProtocol,
    image_root: Path = Path(),
) -> np.ndarray:
    """Draw the target and both masks of each record.

    Args:
        changes: at least one, in the order of the figure.
        first, second: the lines of either file by the names of ``changes``, with ``image``, the path of the picture.
        protocol: how masks are read.
        image_root: folder that relative paths are in.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OSError: a picture is not there.
        ValueError: a line names no picture, or one of another size than its masks.
    """
    rows = []
    for change in changes:
        if change.name not in first or change.name not in second:
            raise ValueError(f"{change.name} has no 'record_id', by which a figure finds the lines of both files")
        lines = first[change.name], second[change.name]
        path = lines[0].get("image")
        if not isinstance(path, str):
            raise ValueError(f"record {change.name} has no 'image', the path of its picture: a figure needs one")
        image = read_rgb(str(image_root / path))
        own, other = (read_masks(line, protocol) for line in lines)
        cells = [Cell("target", image, [own.target]) if own.has_target else Cell("no target", image)]
        for name, masks, iou in (("A", own, change.first), ("B", other, change.second)):
            drawn = [] if masks.mask is None else [masks.mask]
            if any(mask.shape != image.shape[:2] for mask in drawn):
                raise ValueError(f"record {change.name}: the mask is {drawn[0].shape}, but {path} is {image.shape[:2]}")
            cells.append(Cell(f"{name}: {iou:.2f}", image, drawn))
        rows.append(PanelRow(cells, title=str(lines[0].get("question") or ""), heading=change.name))
    return panel(rows, cell_height=180)
