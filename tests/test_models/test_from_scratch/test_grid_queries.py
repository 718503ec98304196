import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from scipy.ndimage import center_of_mass
from scipy.optimize import linear_sum_assignment
from support.tiny_model import CLASSES, Q, tiny_pixel_encoder

from lira_plugin.models import AnchorCost, PromptedSegmenter
from lira_plugin.models.from_scratch.grid_queries import grid_points, mask_centres


def box(top, left, height=12, width=12, size=(48, 64)):
    mask = torch.zeros(size)
    mask[top : top + height, left : left + width] = 1
    return mask


def test_centres_are_centroids():
    masks = (torch.rand(4, 20, 30, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    expected = [(x + 0.5, y + 0.5) for y, x in (center_of_mass(mask.numpy()) for mask in masks)]
    np.testing.assert_allclose(mask_centres(masks) * torch.tensor([30, 20]), expected, rtol=1e-5)


def test_the_centre_of_nothing_is_the_middle():
    assert mask_centres(torch.zeros(1, 8, 8)).tolist() == [[0.5, 0.5]]
    assert mask_centres(torch.zeros(0, 8, 8)).shape == (0, 2)


def test_centres_of_large_masks_are_exact_in_autocast():
    mask = torch.ones(1, 700, 700)
    with torch.autocast("cpu", torch.bfloat16):
        centres = mask_centres(mask)
    assert centres.dtype == torch.float32
    torch.testing.assert_close(centres, torch.full((1, 2), 0.5), atol=1e-6, rtol=0)


def test_points_are_in_the_order_of_the_query_positions():
    points = grid_points(3)
    for row in range(3):
        for column in range(3):
            assert points[3 * row + column].tolist() == pytest.approx([(column + 0.5) / 3, (row + 0.5) / 3])


def test_objects_go_to_the_queries_nearest_to_them():
    """All queries say the same, so only the distance decides; against an assignment image by image."""
    segmenter = tiny_pixel_encoder(type=PromptedSegmenter, num_queries=9, grid_queries=True).segmenter
    segmenter.assigner.match_costs.append(AnchorCost(weight=2.0))
    images = [[box(0, 0), box(30, 50), box(2, 6)], [], [box(20, 28)]]  # two that want the same query
    truth = [
        InstanceData(labels=torch.zeros(len(boxes), dtype=torch.long), masks=torch.stack([*boxes, box(0, 0)])[:-1])
        for boxes in images
    ]
    same = torch.zeros(len(images), 9, CLASSES + 1), torch.zeros(len(images), 9, 12, 16)
    _, _, targets, weights, _ = segmenter.get_targets(*same, truth)
    middles = [((i % 3 + 0.5) / 3, (i // 3 + 0.5) / 3) for i in range(9)]
    for owned, found, boxes in zip(weights, targets, images, strict=True):
        distances = np.zeros((9, len(boxes)))
        for query, (x, y) in enumerate(middles):
            for number, mask in enumerate(boxes):
                centre_y, centre_x = center_of_mass(mask.numpy())
                distances[query, number] = abs(x - (centre_x + 0.5) / 64) + abs(y - (centre_y + 0.5) / 48)
        queries, objects = linear_sum_assignment(distances)
        assert owned.nonzero().flatten().tolist() == queries.tolist()
        assert all(torch.equal(mask, boxes[number]) for mask, number in zip(found, objects, strict=True))


def test_queries_without_anchors_are_refused():
    segmenter = tiny_pixel_encoder().segmenter
    segmenter.assigner.match_costs.append(AnchorCost())
    truth = [InstanceData(labels=torch.zeros(1, dtype=torch.long), masks=box(0, 0)[None])]
    with pytest.raises(ValueError, match=r"take PromptedSegmenter\(grid_queries=True\)"):
        segmenter.get_targets(torch.zeros(1, Q, CLASSES + 1), torch.zeros(1, Q, 12, 16), truth)
