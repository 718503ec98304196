"""mmdet's own configs, with their bare names, under the default scopes that recipes have."""

import pytest
import torch
from mmdet.models import Mask2FormerHead, MSDeformAttnPixelDecoder
from mmengine import registry
from mmengine.registry import DefaultScope, Registry
from mmengine.structures import InstanceData
from support.mmdet_files import mask2former_config, narrow
from support.process_state import process_state_restored

from lira_plugin.models import Mask2FormerSegmenter, PixelEncoder
from lira_plugin.models.pixel_encoder.sized_pixel_decoder import SizedPixelDecoder
from lira_plugin.registry import MODELS

CHANNELS = [8, 8, 16, 16]


@pytest.fixture(params=["lira_plugin", "xtuner", "mmengine", "mmdet", None])
def scope(request):
    """A default scope, as a runner sets it; None for a program without one."""
    with process_state_restored():
        DefaultScope._instance_dict.clear()
        if request.param:
            DefaultScope.get_instance("test", scope_name=request.param)
        yield request.param


def head_config(**settings):
    model = mask2former_config("swin-t-p4-w7-224_8xb2-lsj-50e_coco")
    return narrow(model.panoptic_head) | {"in_channels": CHANNELS, "train_cfg": model.train_cfg, **settings}


def swin(**settings):
    config = mask2former_config("swin-t-p4-w7-224_8xb2-lsj-50e_coco").backbone
    return config | {"embed_dims": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "init_cfg": None, **settings}


def test_a_whole_config_of_mmdet_is_a_pixel_encoder(scope):
    """Backbone and head as they stand in mmdet's file: built, run and trained, whatever the default scope."""
    torch.manual_seed(0)
    head = head_config(in_channels=[8, 16, 32, 64])
    encoder = PixelEncoder(backbone=swin(), segmenter=head, image_size=128)
    assert type(encoder.segmenter) is Mask2FormerSegmenter and encoder.pixel_cell == 64
    features = encoder.encode(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
    assert features.pixels.shape == (1, 4, 4 * 64 + 2 * 16) and features.objects.shape == (1, 100, 32)
    truth = [InstanceData(labels=torch.tensor([3]), masks=torch.ones(1, 32, 32))]
    segmented = encoder.segmenter.segment(features.decoder_memory)
    losses = encoder.segmenter.instance_losses(features.decoder_memory, segmented, truth)
    assert all(loss.isfinite() for loss in losses.values()) and len(losses) == 6
    assert (DefaultScope.get_current_instance() and DefaultScope.get_current_instance().scope_name) == scope


def test_what_mmdet_fills_in_by_itself_has_bare_names_too(scope):
    config = head_config(type=Mask2FormerSegmenter)
    for name in ("loss_mask", "loss_dice", "train_cfg"):
        del config[name]
    segmenter = MODELS.build(config)
    assert type(segmenter.loss_dice).__name__ == "DiceLoss"


@pytest.mark.parametrize("name", ["mmdet.Mask2FormerHead", "mmdet.models.Mask2FormerHead", Mask2FormerHead])
def test_every_spelling_of_the_head_is_built_as_ours(name):
    encoder = PixelEncoder(backbone=swin(), segmenter=head_config(type=name, in_channels=[8, 16, 32, 64]))
    assert type(encoder.segmenter) is Mask2FormerSegmenter


def test_names_of_the_default_scope_come_first():
    """A part of the recipe's own scope with a bare name, be it one that mmdet has as well."""
    own = Registry("model", parent=registry.MODELS, scope="of_a_test", locations=[])

    @own.register_module(name="MSDeformAttnPixelDecoder")
    class Mine(MSDeformAttnPixelDecoder):
        pass

    try:
        with DefaultScope.overwrite_default_scope("of_a_test"):
            assert type(Mask2FormerSegmenter(**head_config()).pixel_decoder) is Mine
        with DefaultScope.overwrite_default_scope("lira_plugin"):
            assert type(Mask2FormerSegmenter(**head_config()).pixel_decoder) is SizedPixelDecoder
    finally:
        registry.MODELS._children.pop("of_a_test")


def test_a_head_of_another_kind_is_an_error():
    with pytest.raises(ValueError, match="Mask2FormerHead, got Linear"):
        PixelEncoder(backbone=swin(), segmenter={"type": torch.nn.Linear, "in_features": 1, "out_features": 1})
