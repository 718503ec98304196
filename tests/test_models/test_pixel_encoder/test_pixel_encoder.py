import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import load_checkpoint
from support.tiny_model import (
    CHANNELS,
    CLASSES,
    IMAGE,
    D,
    Q,
    box_mask,
    make_batch,
    random_images,
    text_record,
    tiny_pixel_encoder,
)

from lira_plugin.models.pixel_encoder.perception_prior import perception_prior, used_queries
from lira_plugin.structures import GroundingBatch


def prior_by_definition(class_logits, mask_logits, image_size, grid):
    """Facts 2.4 at the size of the image."""
    scores = class_logits.softmax(-1)[..., :-1].max(-1).values
    full = F.interpolate(mask_logits, image_size, mode="bilinear", align_corners=False).sigmoid()
    weighted = full * (0.5 * scores + 0.5)[..., None, None]
    return F.interpolate(weighted, grid, mode="bilinear", align_corners=False, antialias=False)


@pytest.mark.parametrize(
    ("mask", "image", "grid"),
    [
        ((256, 256), (1024, 1024), (16, 16)),
        ((16, 16), (64, 64), (2, 2)),
        ((16, 12), (64, 48), (2, 3)),
        ((13, 17), (50, 71), (3, 4)),
        ((8, 8), (33, 31), (5, 7)),
        ((9, 7), (20, 30), (1, 1)),
        ((10, 10), (10, 10), (4, 4)),
        ((7, 9), (12, 13), (12, 13)),
        ((24, 24), (17, 17), (3, 3)),
        ((4, 4), (6, 6), (9, 11)),
    ],
)
def test_perception_prior_equals_its_definition(mask, image, grid):
    class_logits = 2 * torch.randn(2, 3, CLASSES + 1)
    mask_logits = 4 * torch.randn(2, 3, *mask)
    expected = prior_by_definition(class_logits, mask_logits, image, grid)
    prior = perception_prior(class_logits, mask_logits, image, grid)
    torch.testing.assert_close(prior, expected, atol=1e-5, rtol=0)


def test_perception_prior_is_that_of_fp32_under_autocast():
    class_logits, mask_logits = torch.randn(1, 5, CLASSES + 1).bfloat16(), 4 * torch.randn(1, 5, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        prior = perception_prior(class_logits, mask_logits, (64, 64), (4, 4))
    expected = prior_by_definition(class_logits.float(), mask_logits.float(), (64, 64), (4, 4))
    torch.testing.assert_close(prior, expected, atol=1e-5, rtol=0)


def test_perception_prior_ignores_the_background_class():
    mask_logits = torch.zeros(1, 2, 4, 4)
    class_logits = torch.tensor([[[0.0, 0.0, 50.0], [50.0, 0.0, 0.0]]])
    prior = perception_prior(class_logits, mask_logits, (8, 8), (2, 2))
    torch.testing.assert_close(prior[0, :, 0, 0], torch.tensor([0.25, 0.5]))


def test_used_queries_win_at_least_one_cell():
    prior = torch.rand(3, 5, 2, 3)
    used = used_queries(prior)
    for image in range(3):
        winners = {
            max(range(5), key=lambda q, i=image, r=r, c=c: prior[i, q, r, c].item()) for r in range(2) for c in range(3)
        }
        assert set(used[image].nonzero().flatten().tolist()) == winners


def folded(feature, ratio):
    """Facts 2.4: (N, C, h, w) to tokens, row by row, of channels (row in square, column in square, C)."""
    cells = range(ratio)
    tokens = [
        torch.cat([feature[:, :, row + r, column + c] for r in cells for c in cells], 1)
        for row in range(0, feature.shape[2], ratio)
        for column in range(0, feature.shape[3], ratio)
    ]
    return torch.stack(tokens, 1)


def test_a_feature_map_that_does_not_divide_is_an_error_with_the_sizes():
    encoder = tiny_pixel_encoder(unshuffle=2).eval()
    with pytest.raises(ValueError, match=r"3 x 3 cells cannot be folded by 2: .*size of the image"):
        encoder.encode(random_images(1, side=96))


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_features_follow_the_definition(unshuffle):
    from mmdet.models import Mask2FormerHead

    encoder = tiny_pixel_encoder(unshuffle=unshuffle).eval()
    images = random_images(2)
    with torch.no_grad():
        features = encoder.encode(images)
        mean, std = torch.tensor([0.4814, 0.4578, 0.4082]), torch.tensor([0.2686, 0.2613, 0.2757])
        normalised = (images / 255 - mean[:, None, None]) / std[:, None, None]
        maps = encoder.backbone(normalised)
        states = []
        last_layer = encoder.segmenter.transformer_decoder.layers[-1]
        handle = last_layer.register_forward_hook(lambda module, args, output: states.append(output))
        classes, masks = Mask2FormerHead.forward(encoder.segmenter, maps, [])
        handle.remove()
        side = 2 // unshuffle
        prior = prior_by_definition(classes[-1], masks[-1], (IMAGE, IMAGE), (side, side))
        positions = encoder.segmenter.query_embed.weight.expand(2, -1, -1)
        objects = torch.cat([states[-1], positions], -1)
        perceived = torch.einsum("nqhw,nqd->nhwd", prior.softmax(1), objects).flatten(1, 2)
    tokens, width = side * side, CHANNELS[-1] * unshuffle**2
    assert features.pixels.shape == (2, tokens, width + 2 * D)
    torch.testing.assert_close(features.pixels[..., :width], folded(maps[-1], unshuffle), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.pixels[..., width:], perceived, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.objects, objects, atol=1e-4, rtol=1e-4)
    assert features.object_valid.shape == (2, Q)
    winners = prior.flatten(2).argmax(1)
    assert all(set(v.nonzero().flatten().tolist()) == set(w.tolist()) for v, w in zip(features.object_valid, winners))


def instance_batch(*masks_per_image):
    """A batch of the segmenter stage; the k-th mask of all has label k % CLASSES."""
    batch = make_batch([text_record(str(n)) for n in range(len(masks_per_image))])["batch"]
    masks = [torch.from_numpy(mask) for masks in masks_per_image for mask in masks]
    owners = [image for image, masks in enumerate(masks_per_image) for _ in masks]
    assert isinstance(batch, GroundingBatch)
    return batch._replace(
        pixel_images=random_images(len(masks_per_image)),
        block_sample=torch.arange(len(masks_per_image)),
        block_image=torch.arange(len(masks_per_image)),
        masks=torch.stack(masks) if masks else torch.zeros(0, IMAGE, IMAGE, dtype=torch.bool),
        mask_image=torch.tensor(owners, dtype=torch.long),
        mask_labels=torch.tensor([number % CLASSES for number in range(len(masks))], dtype=torch.long),
    )


ONE = box_mask(IMAGE, IMAGE, 4, 4, 30, 30)
TWO = box_mask(IMAGE, IMAGE, 20, 30, 60, 60)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    """Not warned about and passed over, as MMEngine does."""
    encoder = tiny_pixel_encoder()
    state = {f"pixel_encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "lira.pth")
    with pytest.raises(ValueError, match=r"unknown: pixel_encoder\..* missing: backbone\."):
        load_checkpoint(encoder, str(tmp_path / "lira.pth"))


@pytest.mark.parametrize("masks", [([ONE, TWO], [TWO]), ([ONE], []), ([], [])])
def test_the_segmenter_stage_has_finite_losses_and_gradients_with_and_without_instances(masks):
    encoder = tiny_pixel_encoder()
    losses = encoder(instance_batch(*masks), mode="loss")
    assert {"loss_cls", "loss_mask", "loss_dice", "d0.loss_mask"} <= set(losses)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    assert losses["loss_cls"] > 0
    sum(losses.values()).backward()
    grads = [p.grad for p in encoder.backbone.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)
    if masks == ([], []):
        assert losses["loss_mask"] == 0 and losses["loss_dice"] == 0


def test_each_image_is_compared_with_its_own_instances(monkeypatch):
    encoder = tiny_pixel_encoder()
    seen = []
    monkeypatch.setattr(
        encoder.segmenter, "loss_by_feat", lambda classes, masks, truth, meta: seen.append((truth, meta)) or {}
    )
    encoder(instance_batch([ONE], [], [TWO, ONE]), mode="loss")
    ((truth, meta),) = seen
    assert [t.labels.tolist() for t in truth] == [[0], [], [1, 2]]
    assert [t.masks.shape[0] for t in truth] == [1, 0, 2] and len(meta) == 3
    assert (truth[2].masks[0].bool().numpy() == TWO).all() and (truth[2].masks[1].bool().numpy() == ONE).all()


def test_predict_gives_instances_at_the_size_of_the_image():
    encoder = tiny_pixel_encoder().eval()
    batch = instance_batch([ONE], [])
    with torch.no_grad():
        first, second = encoder(batch, mode="predict")
        _, decoded, _ = encoder._segment(batch.pixel_images)
    assert first.masks.shape == second.masks.shape == (Q, IMAGE, IMAGE)
    assert first.masks.dtype == torch.bool
    probabilities = decoded.class_logits[-1][1].softmax(-1)[:, :CLASSES]
    torch.testing.assert_close(second.scores, probabilities.max(-1).values)
    assert second.labels.tolist() == probabilities.argmax(-1).tolist()
    full = F.interpolate(decoded.mask_logits[-1], (IMAGE, IMAGE), mode="bilinear", align_corners=False)
    assert torch.equal(second.masks, full[1] > 0)


def test_tensor_mode_gives_features_and_a_typo_is_an_error():
    encoder = tiny_pixel_encoder().eval()
    batch = instance_batch([ONE])
    assert encoder(batch, mode="tensor").pixels.shape == (1, 4, CHANNELS[-1] + 2 * D)
    with pytest.raises(ValueError, match="'los'"):
        encoder(batch, mode="los")


def test_an_image_is_encoded_alike_in_any_company():
    encoder = tiny_pixel_encoder().eval()
    images = random_images(3)
    with torch.no_grad():
        together = encoder.encode(images)
        alone = encoder.encode(images[1:2])
    torch.testing.assert_close(together.pixels[1:2], alone.pixels, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.objects[1:2], alone.objects, atol=1e-5, rtol=1e-4)
    assert torch.equal(together.object_valid[1:2], alone.object_valid)
