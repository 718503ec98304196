"""Masks as a model may give them, made from true ones: shifted, or with a rough outline and stray patches."""

import cv2
import numpy as np

SHIFT = 0.4
"""Largest move, as a share of the extent along each axis."""
SCALES = (0.7, 1.4)
"""Range of the scaling along each axis."""
GROWTH = 0.08
"""Largest distance by which a rough outline lies inside or outside of the true one, as a share of the object's side."""
BUMPS = 0.12
"""Largest standard deviation of the bumps of a rough outline, as a share of the object's side."""
MAX_PATCHES = 3
"""Most stray patches of a rough mask; four in seven have none."""
PATCH_RADII = (0.04, 0.16)
"""Range of a patch's half axes, as a share of the object's side."""
_CELLS = 5  # along the longer side of the window that the bumps are drawn for
_ROOM = 0.3  # around the object, as a share of its side


def jitter_mask(mask: np.ndarray, chance: float, shifted: float, rough: float, rng: np.random.Generator) -> np.ndarray:
    """Shift a (H, W) bool mask, roughen it, or leave it as it is.

    Args:
        chance: a draw in 0..1 that says which: below ``shifted`` it is shifted, from there on roughened in a share ``rough``.
        shifted, rough: shares.
        rng: draws how.
    """
    if chance < shifted:
        return shift_mask(mask, rng)
    return roughen_mask(mask, rng) if chance < shifted + rough else mask


def shift_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move a (H, W) bool mask by up to 40 % of its extent and scale it by 0.7 to 1.4, each axis by itself."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return mask
    shifted = mask
    for axis, covered in enumerate((rows, columns)):
        low, extent = covered.min(), np.ptp(covered) + 1
        centre = low + extent / 2
        scale, offset = rng.uniform(*SCALES), rng.uniform(-SHIFT, SHIFT) * extent
        source = np.round((np.arange(mask.shape[axis]) + 0.5 - centre - offset) / scale + centre - 0.5).astype(int)
        inside = (source >= 0) & (source < mask.shape[axis])
        shifted = shifted.take(source.clip(0, mask.shape[axis] - 1), axis)
        shifted = shifted & (inside[:, None] if axis == 0 else inside[None])
    return shifted


def roughen_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bend the outline of a (H, W) bool mask by smooth bumps, and often add stray patches, as a predicted mask has them.

    A patch far from the object widens the crop of its view, which then shows the object small and squashed.

    Returns:
        (H, W) bool; the mask itself where it is empty or its outline would vanish.
    """
    if not mask.any():
        return mask
    side = np.sqrt(np.count_nonzero(mask))
    room = int(np.ceil(_ROOM * side))
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    window = np.s_[max(0, y - room) : y + height + room, max(0, x - room) : x + width + room]
    bent = _bend(np.ascontiguousarray(mask[window], np.uint8), side, rng)
    if not bent.any():
        return mask
    rough = np.zeros(mask.shape, np.uint8)
    rough[window] = bent
    for _ in range(max(0, rng.integers(-MAX_PATCHES, MAX_PATCHES + 1))):
        centre = [int(rng.integers(extent)) for extent in mask.shape[::-1]]
        axes = [round(side * rng.uniform(*PATCH_RADII)) for _ in range(2)]
        cv2.ellipse(rough, centre, axes, rng.uniform(0, 180), 0, 360, 1, cv2.FILLED)
    return rough.view(bool)


def _bend(inside: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Move the outline of a (H, W) uint8 mask in and out; ``side`` is that of the object, in pixels."""
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    cells = rng.standard_normal((_CELLS, _CELLS)).astype(np.float32)
    bumps = cv2.resize(cells, inside.shape[::-1], interpolation=cv2.INTER_CUBIC)
    change = rng.uniform(-GROWTH, GROWTH) + rng.uniform(0, BUMPS) * bumps
    return distance + side * change > 0
