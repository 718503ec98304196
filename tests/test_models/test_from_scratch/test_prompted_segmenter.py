"""What the prompted segmenter learns beside Mask2Former's losses, and where its queries look."""

import pytest
import torch
from mmengine.structures import InstanceData
from support.tiny_model import CLASSES, D, Q, feature_maps, segmenter_config, tiny_pixel_encoder

from lira_plugin.models import AttributeClassifier, PromptedSegmenter
from lira_plugin.models.from_scratch import prompted_segmenter
from lira_plugin.models.pixel_encoder.segmenter import Segmented


@pytest.fixture
def segmenter():
    return tiny_pixel_encoder(type=PromptedSegmenter, num_layers=4).segmenter.eval()


def test_prompt_losses_ask_each_decoded_query_alone_for_its_object(segmenter, monkeypatch):
    """One query at a time, against the object that a brute-force matching of masks gives it."""
    with torch.no_grad():
        decoder_memory = segmenter.encode(feature_maps(2))
    boxes = torch.full((2, Q, 16, 16), -8.0)
    for query in range(Q):
        boxes[:, query, 2 * query : 2 * query + 4] = 8.0
    classes = torch.zeros(2, Q, CLASSES + 1)
    segmented = Segmented(torch.randn(2, Q, D), [classes], [boxes])
    truth = []
    for number, owners in enumerate(([4, 1], [2])):  # each object is what one of the queries says already
        masks = torch.nn.functional.interpolate((boxes[number, owners] > 0).float()[:, None], scale_factor=4)[:, 0]
        truth.append(InstanceData(labels=torch.zeros(len(owners), dtype=torch.long), masks=masks))
    seen = {}
    monkeypatch.setattr(
        prompted_segmenter,
        "point_losses",
        lambda outputs, targets, *args: seen.update(outputs=outputs, targets=targets) or {},
    )
    segmenter.prompt_loss_weight = 1.0
    with torch.no_grad():
        segmenter.prompt_losses(decoder_memory, segmented, segmenter.match(segmented, truth))
    expected = [(0, 1, truth[0].masks[1]), (0, 4, truth[0].masks[0]), (1, 2, truth[1].masks[0])]
    assert len(seen["targets"]) == 3
    for row, (image, query, mask) in enumerate(expected):
        assert torch.equal(seen["targets"][row], mask)
        with torch.no_grad():
            alone = segmenter.decoder(
                decoder_memory.of(torch.tensor([image])),
                segmented.query_features[image : image + 1, query : query + 1],
                segmenter.query_embed.weight[None, query : query + 1],
            )
        for ours, theirs in zip(seen["outputs"], alone.mask_logits[1:], strict=True):
            torch.testing.assert_close(ours[row], theirs[0, 0], atol=1e-5, rtol=1e-4)


def test_prompt_losses_train_the_decoder_and_not_the_queries(segmenter):
    segmenter.train()
    decoder_memory = segmenter.encode(feature_maps(1))
    segmented = segmenter.segment(decoder_memory)
    truth = [InstanceData(labels=torch.tensor([1]), masks=torch.ones(1, 64, 64))]
    segmenter.prompt_loss_weight, segmenter.prompt_noise, segmenter.prompt_mixup = 0.5, 0.3, 1.0
    sum(segmenter.prompt_losses(decoder_memory, segmented, segmenter.match(segmented, truth)).values()).backward()
    assert segmenter.query_feat.weight.grad is None or not segmenter.query_feat.weight.grad.any()
    assert segmenter.transformer_decoder.layers[0].ffn.layers[0][0].weight.grad.abs().sum() > 0


def test_prompts_are_mixed_with_those_of_their_class_in_other_images():
    owned = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    labels = torch.tensor([7, 7, 2, 7, 5, 2])  # of images 0, 0, 0, 1, 1, 2
    partners = {0: [3], 1: [3], 2: [5], 3: [0, 1], 4: [4], 5: [2]}
    prompts, met = torch.randn(6, 8), {number: set() for number in partners}
    matched = prompted_segmenter.Matched(owned, torch.zeros(6, 4, 4), labels)
    for _ in range(50):
        mixed = prompted_segmenter._mix_within_classes(prompts, matched, 0.8)
        for number, others in partners.items():
            shares = [(mixed[number] - prompts[number]) / (prompts[other] - prompts[number]) for other in others]
            alike = [torch.allclose(share, share[0].expand(8), atol=1e-4) for share in shares]
            if number == 4:  # nothing of its class elsewhere
                assert torch.equal(mixed[number], prompts[number])
            else:
                assert alike.count(True) == 1
                assert 0 <= shares[alike.index(True)][0] <= 0.8
                met[number].add(others[alike.index(True)])
    assert met[3] == {0, 1}


def test_matched_objects_keep_their_classes(segmenter):
    with torch.no_grad():
        segmented = segmenter.segment(segmenter.encode(feature_maps(2)))
    truth = [
        InstanceData(labels=torch.tensor([2, 0]), masks=torch.stack([torch.ones(64, 64), torch.zeros(64, 64)])),
        InstanceData(labels=torch.tensor([1]), masks=torch.eye(64)[None]),
    ]
    matched = segmenter.match(segmented, truth)
    wanted = {float(mask.sum()): int(label) for image in truth for mask, label in zip(image.masks, image.labels)}
    assert [wanted[float(mask.sum())] for mask in matched.masks] == matched.labels.tolist()
    assert matched.owned.sum(1).tolist() == [2, 1]


def test_without_objects_prompt_losses_are_zero(segmenter):
    decoder_memory = segmenter.encode(feature_maps(1))
    empty = [InstanceData(labels=torch.zeros(0, dtype=torch.long), masks=torch.zeros(0, 64, 64))]
    segmented = segmenter.segment(decoder_memory)
    segmenter.prompt_mixup = 1.0
    losses = segmenter.prompt_losses(decoder_memory, segmented, segmenter.match(segmented, empty))
    assert all(float(loss) == 0 for loss in losses.values())


def test_grid_queries_start_at_a_grid_of_points():
    segmenter = tiny_pixel_encoder(type=PromptedSegmenter, num_queries=9, grid_queries=True).segmenter
    grid = segmenter.decoder_positional_encoding(torch.zeros(1, 3, 3, dtype=torch.bool))[0]
    for row in range(3):
        for column in range(3):
            torch.testing.assert_close(segmenter.query_embed.weight[3 * row + column], grid[:, row, column])
    with pytest.raises(ValueError, match="square number of queries"):
        tiny_pixel_encoder(type=PromptedSegmenter, num_queries=8, grid_queries=True)


def test_attributes_take_the_place_of_the_class_weights():
    config = {key: value for key, value in segmenter_config().items() if key != "type"}

    def build(attributes):
        return PromptedSegmenter(**config, classifier={"type": AttributeClassifier, "attributes": attributes})

    segmenter = build([CLASSES, 1])
    segmented = segmenter.segment(segmenter.encode(feature_maps(1)))
    normed = segmenter.transformer_decoder.post_norm(segmented.query_features)
    assert torch.equal(segmented.class_logits[-1], segmenter.cls_embed(normed))
    assert segmented.class_logits[-1].shape == (1, Q, CLASSES + 1)
    with pytest.raises(ValueError, match=rf"AttributeClassifier, has {2 * CLASSES} classes, but .* make {CLASSES}:"):
        build([CLASSES, 2])


def test_prompt_losses_are_added_where_they_have_a_weight(segmenter):
    decoder_memory = segmenter.encode(feature_maps(1))
    segmented = segmenter.segment(decoder_memory)
    truth = [InstanceData(labels=torch.tensor([1]), masks=torch.ones(1, 64, 64))]
    plain = set(segmenter.instance_losses(decoder_memory, segmented, truth))
    assert not any(name.startswith("prompted.") for name in plain)
    found = {}
    for segmenter.prompt_loss_weight in (1.0, 0.5):
        torch.manual_seed(0)
        found[segmenter.prompt_loss_weight] = segmenter.instance_losses(decoder_memory, segmented, truth)
    assert set(found[0.5]) - plain == {"prompted.loss_mask", "prompted.loss_dice"}
    for name, loss in found[1.0].items():
        torch.testing.assert_close(found[0.5][name], loss / 2 if name.startswith("prompted.") else loss)
