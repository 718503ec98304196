import torch

from lira_plugin.models.from_scratch.query_loss import best_queries


def plain_iou(candidate, mask):
    shared = union = 0
    for seen, wanted in zip(candidate.flatten().tolist(), mask.flatten().tolist()):
        shared += seen and wanted
        union += seen or wanted
    return shared / union if union else 0.0


def test_the_best_query_is_the_one_of_the_object_s_own_image_with_the_highest_iou():
    torch.manual_seed(0)
    object_masks = torch.rand(3, 5, 6, 8) > 0.5
    masks = torch.rand(7, 6, 8) > 0.5
    state_image = torch.tensor([2, 0, 0, 2, 1, 2, 0])
    best = best_queries(object_masks, masks, state_image)
    for number, (mask, image) in enumerate(zip(masks, state_image.tolist())):
        ious = [plain_iou(candidate, mask) for candidate in object_masks[image]]
        assert ious[best.index[number]] == max(ious)
        torch.testing.assert_close(best.iou[number], torch.tensor(max(ious)))


def test_masks_of_the_image_s_size_are_compared_at_the_size_of_the_mask_features():
    object_masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    object_masks[0, 0, :2], object_masks[0, 1, :, :2] = True, True
    left = torch.zeros(1, 16, 16, dtype=torch.bool)
    left[0, :, :8] = True
    best = best_queries(object_masks, left, torch.tensor([0]))
    assert best.index.tolist() == [1] and best.iou.tolist() == [1.0]


def test_an_empty_mask_and_no_mask_at_all():
    object_masks = torch.ones(2, 3, 4, 4, dtype=torch.bool)
    assert best_queries(object_masks, torch.zeros(1, 8, 8, dtype=torch.bool), torch.tensor([1])).iou.tolist() == [0.0]
    none = best_queries(object_masks, torch.zeros(0, 8, 8, dtype=torch.bool), torch.zeros(0, dtype=torch.long))
    assert none.index.shape == none.iou.shape == (0,)
