import pytest
import torch
from mmengine.structures import InstanceData
from tiny import CHANNELS, CLASSES, OUTPUTS, D, Q, tiny_pixel_encoder

from lira_plugin.models import deformable_attention
from lira_plugin.models.deformable_attention import sample_levels
from lira_plugin.models.segmenter import Decoded


@pytest.fixture
def segmenter():
    return tiny_pixel_encoder(num_layers=4).segmenter.eval()  # more layers than levels


def maps(num_images, side=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(num_images, channels, side // stride, side // stride, generator=generator)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32))
    ]


@pytest.mark.parametrize("num_images", [1, 3])
def test_forward_is_that_of_mmdet(segmenter, num_images):
    from mmdet.models import Mask2FormerHead

    features = maps(num_images)
    with torch.no_grad():
        classes, masks = segmenter(features)
        expected_classes, expected_masks = Mask2FormerHead.forward(segmenter, features, [])
    assert len(classes) == len(masks) == len(expected_masks) == 5
    assert classes[0].shape == (num_images, Q, CLASSES + 1)
    assert masks[0].shape == (num_images, Q, 16, 16)
    for ours, theirs in zip(classes + masks, expected_classes + expected_masks):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_weights_are_those_of_mmdet(segmenter):
    from mmdet.models import Mask2FormerHead
    from mmengine.config import ConfigDict
    from tiny import segmenter_config

    config = {k: ConfigDict(v) if isinstance(v, dict) else v for k, v in segmenter_config(num_layers=4).items()}
    del config["type"]
    theirs = Mask2FormerHead(**config).state_dict()
    assert {k: v.shape for k, v in segmenter.state_dict().items()} == {k: v.shape for k, v in theirs.items()}


def test_independent_queries_are_decoded_as_if_each_were_alone(segmenter):
    features, positions = torch.randn(2, 5, D), torch.randn(2, 5, D)
    with torch.no_grad():
        pyramid = segmenter.encode(maps(2))
        together = segmenter.decode(pyramid, features, positions, independent=True)
        connected = segmenter.decode(pyramid, features, positions)
        for query in range(5):
            one = slice(query, query + 1)
            alone = segmenter.decode(pyramid, features[:, one], positions[:, one])
            torch.testing.assert_close(together.query_features[:, one], alone.query_features, atol=1e-5, rtol=1e-4)
            for ours, theirs in zip(
                together.mask_logits + together.class_logits, alone.mask_logits + alone.class_logits
            ):
                torch.testing.assert_close(ours[:, one], theirs, atol=1e-5, rtol=1e-4)
    assert (connected.mask_logits[-1] - together.mask_logits[-1]).abs().max() > 1e-3, "self-attention matters otherwise"


def test_classes_are_computed_only_when_asked_for(segmenter):
    with torch.no_grad():
        pyramid = segmenter.encode(maps(1))
        queries = torch.randn(1, 2, D)
        decoded = segmenter.decode(pyramid, queries, queries, classify="none")
        last = segmenter.decode(pyramid, queries, queries, classify="last")
        with_classes = segmenter.decode(pyramid, queries, queries)
    assert decoded.class_logits == [] and len(decoded.mask_logits) == 5
    assert torch.equal(decoded.mask_logits[-1], with_classes.mask_logits[-1])
    (logits,) = last.class_logits
    assert torch.equal(logits, with_classes.class_logits[-1]) and len(with_classes.class_logits) == 5
    (masks,) = last.mask_logits
    assert torch.equal(masks, with_classes.mask_logits[-1]), "the others would be a tenfold of memory"


def test_a_query_whose_mask_is_empty_sees_the_whole_image(segmenter):
    blocked = segmenter._attention_mask(torch.full((1, 2, 8, 8), -3.0), (4, 4))
    assert blocked.shape == (segmenter.num_heads, 2, 16) and not blocked.any()
    half = torch.full((1, 1, 8, 8), -3.0)
    half[..., :4] = 3.0
    expected = torch.tensor([False, False, True, True]).repeat(4)
    assert torch.equal(segmenter._attention_mask(half, (4, 4))[0, 0], expected)


def test_every_decoder_output_is_returned():
    segmenter = tiny_pixel_encoder().segmenter
    assert len(segmenter.segment(segmenter.encode(maps(1))).mask_logits) == OUTPUTS


def test_attributes_take_the_place_of_the_class_weights():
    from tiny import segmenter_config

    from lira_plugin.models import Mask2FormerSegmenter

    config = {key: value for key, value in segmenter_config().items() if key != "type"}
    classes, _ = Mask2FormerSegmenter(**config, class_attributes=[CLASSES, 1])(maps(1))
    assert classes[-1].shape == (1, Q, CLASSES + 1)
    message = rf"attributes with \[{CLASSES}, 2\] values make {2 * CLASSES} classes, not {CLASSES}"
    with pytest.raises(ValueError, match=message):
        Mask2FormerSegmenter(**config, class_attributes=[CLASSES, 2])


@pytest.mark.parametrize("counts", [(3, 0, 2), (0, 0), (4,), (Q + 2, 1)])
def test_targets_of_all_images_at_once_are_those_of_mmdet_one_by_one(segmenter, counts):
    """From the same random points; images without objects and with more objects than queries included."""
    from mmdet.models import Mask2FormerHead

    classes, logits = torch.randn(len(counts), Q, CLASSES + 1), torch.randn(len(counts), Q, 16, 16)
    truth = [
        InstanceData(labels=torch.randint(CLASSES, (count,)), masks=(torch.rand(count, 64, 64) > 0.5).float())
        for count in counts
    ]
    torch.manual_seed(0)
    ours = segmenter.get_targets(classes, logits, truth)
    torch.manual_seed(0)
    theirs = Mask2FormerHead.get_targets(segmenter, list(classes), list(logits), truth, [{}] * len(truth))
    assert ours[-1] == theirs[-1]
    for mine, expected in zip(ours[:-1], theirs[:-1], strict=True):
        for one, other in zip(mine, expected, strict=True):
            assert torch.equal(one, other)


def test_prompted_losses_ask_each_decoded_query_alone_for_its_object(segmenter, monkeypatch):
    """One query at a time, against the object that a brute-force matching of masks gives it."""
    from lira_plugin.models import segmenter as module

    with torch.no_grad():
        pyramid = segmenter.encode(maps(2))
    boxes = torch.full((2, Q, 16, 16), -8.0)
    for query in range(Q):
        boxes[:, query, 2 * query : 2 * query + 4] = 8.0
    classes = torch.zeros(2, Q, CLASSES + 1)
    decoded = Decoded(torch.randn(2, Q, D), [classes], [boxes])
    truth = []
    for number, owners in enumerate(([4, 1], [2])):  # each object is what one of the queries says already
        masks = torch.nn.functional.interpolate((boxes[number, owners] > 0).float()[:, None], scale_factor=4)[:, 0]
        truth.append(InstanceData(labels=torch.zeros(len(owners), dtype=torch.long), masks=masks))
    seen = {}
    monkeypatch.setattr(
        module, "point_losses", lambda outputs, targets, *args: seen.update(outputs=outputs, targets=targets) or {}
    )
    segmenter.prompted = 1.0
    with torch.no_grad():
        segmenter.prompted_losses(pyramid, decoded, segmenter.match(decoded, truth))
    expected = [(0, 1, truth[0].masks[1]), (0, 4, truth[0].masks[0]), (1, 2, truth[1].masks[0])]
    assert len(seen["targets"]) == 3
    for row, (image, query, mask) in enumerate(expected):
        assert torch.equal(seen["targets"][row], mask)
        with torch.no_grad():
            alone = segmenter.decode(
                pyramid.of(torch.tensor([image])),
                decoded.query_features[image : image + 1, query : query + 1],
                segmenter.query_embed.weight[None, query : query + 1],
            )
        for ours, theirs in zip(seen["outputs"], alone.mask_logits[1:], strict=True):
            torch.testing.assert_close(ours[row], theirs[0, 0], atol=1e-5, rtol=1e-4)


def test_prompted_losses_train_the_decoder_and_not_the_queries(segmenter):
    segmenter.train()
    pyramid = segmenter.encode(maps(1))
    decoded = segmenter.segment(pyramid)
    truth = [InstanceData(labels=torch.tensor([1]), masks=torch.ones(1, 64, 64))]
    segmenter.prompted, segmenter.prompt_noise, segmenter.prompt_mixup = 0.5, 0.3, 1.0
    sum(segmenter.prompted_losses(pyramid, decoded, segmenter.match(decoded, truth)).values()).backward()
    assert segmenter.query_feat.weight.grad is None or not segmenter.query_feat.weight.grad.any()
    assert segmenter.transformer_decoder.layers[0].ffn.layers[0][0].weight.grad.abs().sum() > 0


def test_prompts_are_mixed_with_those_of_their_class_in_other_images():
    from lira_plugin.models.segmenter import Matched, _mix_within_classes

    owned = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    labels = torch.tensor([7, 7, 2, 7, 5, 2])  # of images 0, 0, 0, 1, 1, 2
    partners = {0: [3], 1: [3], 2: [5], 3: [0, 1], 4: [4], 5: [2]}
    prompts, met = torch.randn(6, 8), {number: set() for number in partners}
    for _ in range(50):
        mixed = _mix_within_classes(prompts, Matched(owned, torch.zeros(6, 4, 4), labels), 0.8)
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
        decoded = segmenter.segment(segmenter.encode(maps(2)))
    truth = [
        InstanceData(labels=torch.tensor([2, 0]), masks=torch.stack([torch.ones(64, 64), torch.zeros(64, 64)])),
        InstanceData(labels=torch.tensor([1]), masks=torch.eye(64)[None]),
    ]
    matched = segmenter.match(decoded, truth)
    wanted = {float(mask.sum()): int(label) for image in truth for mask, label in zip(image.masks, image.labels)}
    assert [wanted[float(mask.sum())] for mask in matched.masks] == matched.labels.tolist()
    assert matched.owned.sum(1).tolist() == [2, 1]


def test_without_objects_prompted_losses_are_zero(segmenter):
    pyramid = segmenter.encode(maps(1))
    empty = [InstanceData(labels=torch.zeros(0, dtype=torch.long), masks=torch.zeros(0, 64, 64))]
    decoded = segmenter.segment(pyramid)
    segmenter.prompt_mixup = 1.0
    losses = segmenter.prompted_losses(pyramid, decoded, segmenter.match(decoded, empty))
    assert all(float(loss) == 0 for loss in losses.values())


def test_anchored_queries_start_at_a_grid_of_points():
    segmenter = tiny_pixel_encoder(num_queries=9, anchored=True).segmenter
    grid = segmenter.decoder_positional_encoding(torch.zeros(1, 3, 3, dtype=torch.bool))[0]
    for row in range(3):
        for column in range(3):
            torch.testing.assert_close(segmenter.query_embed.weight[3 * row + column], grid[:, row, column])
    with pytest.raises(ValueError, match="square number of queries"):
        tiny_pixel_encoder(num_queries=8, anchored=True)


def test_deformable_attention_stays_in_fp32_under_autocast(monkeypatch):
    types = []

    def noting_types(values, sizes, places, weights):
        types.extend([values.dtype, places.dtype, weights.dtype])
        return sample_levels(values, sizes, places, weights)

    monkeypatch.setattr(deformable_attention, "sample_levels", noting_types)
    segmenter = tiny_pixel_encoder().segmenter
    with torch.autocast("cpu", torch.bfloat16):
        mask_features, _ = segmenter.pixel_decoder(maps(2))
    assert types and set(types) == {torch.float32} and mask_features.isfinite().all()
