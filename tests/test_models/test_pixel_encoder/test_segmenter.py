import copy

import pytest
import torch
from mmengine.structures import InstanceData
from support.tiny_model import CLASSES, Q, feature_maps, segmenter_config, tiny_pixel_encoder

from lira_plugin.models import Mask2FormerSegmenter
from lira_plugin.models.pixel_encoder import deformable_attention
from lira_plugin.models.pixel_encoder.deformable_attention import sample_levels


@pytest.fixture
def segmenter():
    return tiny_pixel_encoder(num_layers=4).segmenter.eval()  # more layers than levels


@pytest.mark.parametrize("num_images", [1, 3])
def test_forward_is_that_of_mmdet(segmenter, num_images):
    from mmdet.models import Mask2FormerHead

    features = feature_maps(num_images)
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

    config = {k: ConfigDict(v) if isinstance(v, dict) else v for k, v in segmenter_config(num_layers=4).items()}
    del config["type"]
    theirs = Mask2FormerHead(**config).state_dict()
    assert {k: v.shape for k, v in segmenter.state_dict().items()} == {k: v.shape for k, v in theirs.items()}


def test_every_output_is_returned_or_the_last_alone(segmenter):
    with torch.no_grad():
        decoder_memory = segmenter.encode(feature_maps(1))
        every, last = segmenter.segment(decoder_memory), segmenter.segment(decoder_memory, last_only=True)
    assert len(every.class_logits) == len(every.mask_logits) == 5
    assert len(last.class_logits) == len(last.mask_logits) == 1
    for name in ("class_logits", "mask_logits"):
        assert torch.equal(getattr(last, name)[0], getattr(every, name)[-1])
    assert torch.equal(last.query_features, every.query_features)


def test_the_decoder_is_of_the_segmenters_own_weights(segmenter):
    """Which are registered once, as mmdet names them."""
    decoder, weights = segmenter.decoder, dict(segmenter.named_parameters())
    of_decoder = dict(decoder.named_parameters())
    assert of_decoder and all(parameter is weights[name] for name, parameter in of_decoder.items())
    assert {name.split(".")[0] for name in of_decoder} == {"transformer_decoder", "mask_embed"}
    double = copy.deepcopy(segmenter)
    assert double.decoder.mask_embed is double.mask_embed is not segmenter.mask_embed


class MaskCounter(torch.nn.Module):
    """A classifier that says how much of the image a mask covers."""

    def __init__(self, channels, classes=CLASSES):
        super().__init__()
        self.channels, self.num_classes = channels, classes

    def forward(self, queries, mask_features, mask_logits):
        assert queries.shape[:2] == mask_logits.shape[:2] and mask_features.shape[1] == self.channels
        share = (mask_logits > 0).float().mean((2, 3))
        return share[..., None].expand(-1, -1, self.num_classes + 1)


def test_a_classifier_takes_the_place_of_the_class_weights():
    config = {key: value for key, value in segmenter_config().items() if key != "type"}
    segmented = (segmenter := Mask2FormerSegmenter(**config, classifier={"type": MaskCounter})).segment(
        segmenter.encode(feature_maps(2))
    )
    assert len(segmented.class_logits) == len(segmented.mask_logits)
    for classes, masks in zip(segmented.class_logits, segmented.mask_logits):
        assert torch.equal(classes[..., 0], (masks > 0).float().mean((2, 3)))
    message = rf"classifier, MaskCounter, has {CLASSES + 1} classes, but .* make {CLASSES}: give both the same count"
    with pytest.raises(ValueError, match=message):
        Mask2FormerSegmenter(**config, classifier={"type": MaskCounter, "classes": CLASSES + 1})


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


def test_deformable_attention_stays_in_fp32_under_autocast(monkeypatch):
    types = []

    def noting_types(values, sizes, places, weights):
        types.extend([values.dtype, places.dtype, weights.dtype])
        return sample_levels(values, sizes, places, weights)

    monkeypatch.setattr(deformable_attention, "sample_levels", noting_types)
    segmenter = tiny_pixel_encoder().segmenter
    with torch.autocast("cpu", torch.bfloat16):
        mask_features, _ = segmenter.pixel_decoder(feature_maps(2))
    assert types and set(types) == {torch.float32} and mask_features.isfinite().all()
