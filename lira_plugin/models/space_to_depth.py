"""Fold squares of cells into channels: fewer tokens, each of a larger part of the image."""

from torch import Tensor


def folded_grid(height: int, width: int, ratio: int) -> tuple[int, int]:
    """Cells of a grid of ``height`` x ``width`` after :func:`space_to_depth`.

    Raises:
        ValueError: a side of the grid is no multiple of the ratio.
    """
    if height % ratio or width % ratio:
        raise ValueError(
            f"a grid of {height} x {width} cells cannot be folded by {ratio}: both sides must be multiples of it; change the "
            "size of the image or tile, or the ratio"
        )
    return height // ratio, width // ratio


def space_to_depth(grid: Tensor, ratio: int) -> Tensor:
    """Fold squares of ``ratio`` x ``ratio`` cells into channels: (N, h, w, C) to (N, h / r, w / r, r^2 C).

    Channels are ordered (row in square, column in square, C), as in InternVL's "v2" pixel shuffle
    (``modeling_internvl_chat.py``) and in OMG-LLaVA's pixel tokens (``omg_seg_visual_encoder.py:54-75``). PyTorch's
    ``pixel_unshuffle`` orders them (C, row, column).

    Raises:
        ValueError: a side of the grid is no multiple of the ratio.
    """
    num, height, width, channels = grid.shape
    rows, columns = folded_grid(height, width, ratio)
    squares = grid.reshape(num, rows, ratio, columns, ratio, channels)
    return squares.permute(0, 1, 3, 2, 4, 5).reshape(num, rows, columns, ratio * ratio * channels)
