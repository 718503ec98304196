"""mmdet's Mask2Former files in mmdet's own layout: twins of its models become pixel encoders that compute the same."""

from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from support.mmdet_files import mask2former_config, narrow
from support.paths import config_path

from lira_plugin.checkpoint.files import load_into, read_state_dict
from lira_plugin.convert import convert_mmdet
from lira_plugin.models import PixelEncoder
from lira_plugin.registry import MODELS

PUBLISHED = {
    "swin_t": "swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic",
    "swin_s": "swin-s-p4-w7-224_8xb2-lsj-50e_coco-panoptic",
    "swin_b": "swin-b-p4-w12-384-in21k_8xb2-lsj-50e_coco-panoptic",
    "swin_l": "swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic",
    "r50": "r50_8xb2-lsj-50e_coco-panoptic",
    "r101": "r101_8xb2-lsj-50e_coco-panoptic",
}
"""The published files by the names that our recipes have for them."""


def recipe(name: str) -> ConfigDict:
    """The pixel encoder of the recipe with one of the published files."""
    config = Config.fromfile(config_path("lira_2b_swin_t"))
    config.model.pixel_encoder.pop("backbone")
    config.model.merge(config.mask2former[name])
    return config.model.pixel_encoder


def detector(model: ConfigDict) -> torch.nn.Module:
    import mmdet.models  # noqa: F401

    with DefaultScope.overwrite_default_scope("mmdet"):
        from mmdet.registry import MODELS as theirs

        return theirs.build(model)


def shrink(name: str) -> tuple[ConfigDict, ConfigDict]:
    """A published model and our recipe of it, both with few channels and blocks."""
    theirs, ours = mask2former_config(PUBLISHED[name]), recipe(name)
    if name.startswith("swin"):
        small, channels = {"embed_dims": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}, [8, 16, 32, 64]
    else:
        small, channels = {"depth": 18, "base_channels": 8, "stem_channels": 8}, [8, 16, 32, 64]
    for part in (theirs, ours):
        part.backbone.update(small, init_cfg=None)
    for head in (theirs.panoptic_head, ours.segmenter):
        narrow(head).in_channels = channels
    return theirs, ours


def published(model: ConfigDict, path: Path) -> torch.nn.Module:
    """A twin with random weights in the file that mmdet publishes: a state dict, and what it says of itself."""
    torch.manual_seed(0)
    twin = detector(model).eval()
    for tensor in twin.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor).abs() * 0.1)
    meta = {"epoch": 50, "config": "model = dict()", "dataset_meta": {"CLASSES": ("person",), "PALETTE": [(1, 2, 3)]}}
    torch.save({"meta": meta, "state_dict": twin.state_dict()}, path)
    return twin


@pytest.mark.parametrize("name", ["swin_t", "r50"])
def test_a_twin_computes_what_mmdet_computes(name, tmp_path):
    theirs, ours = shrink(name)
    twin = published(theirs, tmp_path / "mask2former.pth")
    path = convert_mmdet(ours, tmp_path / "mask2former.pth", tmp_path / "out")
    encoder: PixelEncoder = MODELS.build({**ours})
    load_into(encoder.eval(), path)
    assert encoder.pixel_cell == 64
    image = torch.randint(0, 256, (1, 3, 96, 64), dtype=torch.uint8)
    settings = theirs.data_preprocessor
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        features = twin.extract_feat((image - mean) / std)
        classes, masks = twin.panoptic_head(features, [])
        decoder_memory, segmented, _ = encoder._segment(image)
    for ours, theirs in zip(segmented.class_logits + segmented.mask_logits, classes + masks, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert segmented.class_logits[-1].shape == (1, 100, 134), "80 things, 53 stuff and no object"


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_size_fits_its_recipe(name):
    """At full size, without weights: the names and shapes of mmdet's own model are ours after one prefix is renamed."""
    with init_empty_weights(include_buffers=False):
        theirs = detector(mask2former_config(PUBLISHED[name])).state_dict()
        encoder = MODELS.build({**recipe(name)})
    shapes = {name.replace("panoptic_head.", "segmenter."): tensor.shape for name, tensor in theirs.items()}
    assert {name: tensor.shape for name, tensor in encoder.state_dict().items()} == shapes
    channels = recipe(name).segmenter.in_channels
    assert Config.fromfile(config_path("lira_2b_swin_t")).mask2former[name].sefe.query_channels == 4 * channels[-1]


def test_the_recipe_agrees_with_the_data(tmp_path):
    """SEFE takes what the pixel encoder gives, and a file of the first stage is what the second reads."""
    config = Config.fromfile(config_path("lira_2b_swin_t"))
    sefe, segmenter = config.model.sefe, config.model.pixel_encoder.segmenter
    assert sefe.pixel_channels == 4 * segmenter.in_channels[-1] + 2 * segmenter.feat_channels
    assert config.model.pixel_encoder.image_size % 64 == 0
    first, second = (stage.path for stage in config.model.init_from)
    assert first.endswith("mask2former_swin_t/model.safetensors")
    assert second == Config.fromfile(config_path("lira_2b_swin_t_pretrain")).work_dir


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("panoptic_head.query_feat.weight"), "1 missing: segmenter.query_feat.weight"),
        (lambda state: state.update({"rpn_head.conv.weight": torch.ones(1)}), "1 unknown: rpn_head.conv.weight"),
        (
            lambda state: state.update({"panoptic_head.cls_embed.weight": torch.ones(81, 16)}),
            r"1 of another shape: segmenter.cls_embed.weight \(81, 16\).*a file of COCO instances has 80 classes",
        ),
        (
            lambda state: state.update({"panoptic_head.level_embed.weight": torch.ones(3, 16, dtype=torch.long)}),
            "int64 in segmenter.level_embed.weight, where torch.float32 is expected",
        ),
        (
            lambda state: [state.pop(name) for name in list(state) if name.startswith("panoptic_head.")],
            r"no tensors panoptic_head\.\*: it is no checkpoint of mmdet's Mask2Former",
        ),
    ],
)
def test_what_does_not_fit_is_named(spoil, message, twin_file, tmp_path):
    path, ours = twin_file
    state = read_state_dict(path)
    spoil(state)
    torch.save({"state_dict": state}, tmp_path / "spoilt.pth")
    with pytest.raises(ValueError, match=message):
        convert_mmdet(ours, tmp_path / "spoilt.pth", tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.fixture(scope="module")
def twin_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("twin") / "mask2former.pth"
    theirs, ours = shrink("swin_t")
    published(theirs, path)
    return path, ours
