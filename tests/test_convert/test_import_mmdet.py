"""mmdet's Mask2Former files in mmdet's own layout: twins of its models become pixel encoders that compute the same."""

import pytest
import torch
from accelerate import init_empty_weights
from mmengine.config import Config
from support.mmdet_files import PUBLISHED, detector, mask2former_config, mask2former_twin, pixel_encoder_of
from support.paths import config_path

from lira_plugin.checkpoint.files import load_into, read_state_dict
from lira_plugin.convert import convert_mmdet
from lira_plugin.models import PixelEncoder
from lira_plugin.registry import MODELS


@pytest.mark.parametrize("name", ["swin_t", "r50"])
def test_a_twin_computes_what_mmdet_computes(name, tmp_path):
    twin, ours = mask2former_twin(name, tmp_path / "mask2former.pth")
    path = convert_mmdet(ours, tmp_path / "mask2former.pth", tmp_path / "out")
    encoder: PixelEncoder = MODELS.build({**ours})
    load_into(encoder.eval(), path)
    assert encoder.pixel_cell == 64
    image = torch.randint(0, 256, (1, 3, 96, 64), dtype=torch.uint8)
    settings = mask2former_config(PUBLISHED[name]).data_preprocessor
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
def test_every_published_size_fits_its_pixel_encoder_of(name):
    """At full size, without weights: the names and shapes of mmdet's own model are ours after one prefix is renamed."""
    with init_empty_weights(include_buffers=False):
        theirs = detector(mask2former_config(PUBLISHED[name])).state_dict()
        encoder = MODELS.build({**pixel_encoder_of(name)})
    shapes = {name.replace("panoptic_head.", "segmenter."): tensor.shape for name, tensor in theirs.items()}
    assert {name: tensor.shape for name, tensor in encoder.state_dict().items()} == shapes
    channels = pixel_encoder_of(name).segmenter.in_channels
    assert Config.fromfile(config_path("lira_2b_swin_t")).mask2former[name].sefe.query_channels == 4 * channels[-1]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_agrees_with_itself(name):
    """SEFE takes what the pixel encoder gives, and a file of the first stage is what the second reads."""
    config, stage_1 = (Config.fromfile(config_path(f"lira_2b_{name}{suffix}")) for suffix in ("", "_pretrain"))
    assert stage_1.model.pixel_encoder == config.model.pixel_encoder
    sefe, segmenter = config.model.sefe, config.model.pixel_encoder.segmenter
    assert sefe.pixel_channels == 4 * segmenter.in_channels[-1] + 2 * segmenter.feat_channels
    assert config.model.pixel_encoder.image_size % 64 == 0
    (first, second), (own,) = (
        [stage.path for stage in stages] for stages in (config.model.init_from, stage_1.model.init_from)
    )
    assert first == own and first.endswith(f"mask2former_{name}/model.safetensors")
    assert f"--backbone {name}" in config.model.init_from[0].made_by
    assert second == stage_1.work_dir


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
    _, ours = mask2former_twin("swin_t", path)
    return path, ours
