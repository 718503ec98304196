"""OMG-Seg's published layout arrives in the pixel encoder, every tensor once."""

import math

import pytest
import timm
import torch
from accelerate import init_empty_weights
from mmengine.config import Config
from safetensors.torch import load_file
from support.paths import ROOT, config_path

from lira_plugin.checkpoint.files import load_into
from lira_plugin.convert import convert_omg_seg
from lira_plugin.convert.import_omg_seg import _backbone_rules, _head_rules
from lira_plugin.models import PixelEncoder
from lira_plugin.registry import MODELS

pytestmark = pytest.mark.slow

KEYS = (ROOT / "tests" / "data" / "omg_seg_head_keys.txt").read_text().splitlines()
SHRUNK = {"depths": (1, 1, 2, 1), "dims": (4, 8, 16, 24)}


def published_head(channels):
    """The published names with random values; only the backbone's channels differ from the published sizes."""
    generator = torch.Generator().manual_seed(0)
    widths = dict(zip((192, 384, 768, 1536), channels))
    state = {}
    for line in KEYS:
        name, shape = line.split(" ", 1)
        shape = [int(number) for number in shape.strip("[]").split(",")]
        if "input_convs" in name or "lateral_convs" in name:
            shape = [widths.get(number, number) for number in shape]
        state[name] = torch.randn(shape, generator=generator) * 0.05
    return state


def published_backbone(prefix, stage):
    """timm's ``convnext_large`` with its own names, under the names of OMG-Seg or CLIP."""
    torch.manual_seed(0)
    model = timm.create_model("convnext_large", num_classes=3, **SHRUNK)
    names = {name: name for name in model.state_dict()}
    for name in names:
        if name.startswith("stages."):
            _, number, rest = name.split(".", 2)
            names[name] = f"{stage(int(number))}.{rest}"
    return model, {prefix + names[name]: tensor for name, tensor in model.state_dict().items()}


@pytest.fixture
def recipe(tmp_path):
    embeddings = torch.nn.functional.normalize(torch.randn(133, 2, 768), dim=-1)
    torch.save(embeddings, tmp_path / "classes.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_CLASS_EMBEDDINGS", str(tmp_path / "classes.pth"))
        config = Config.fromfile(config_path("lira_2b")).model.pixel_encoder
    config.backbone.update(SHRUNK)
    config.segmenter.update(in_channels=list(SHRUNK["dims"]))
    return config


@pytest.mark.parametrize("own_backbone", [True, False])
def test_every_tensor_arrives(recipe, tmp_path, own_backbone):
    head = published_head(SHRUNK["dims"])
    naming = ("backbone.", lambda i: f"layer{i + 1}") if own_backbone else ("visual.trunk.", lambda i: f"stages.{i}")
    trunk, backbone = published_backbone(*naming)
    text = {"text.token_embedding.weight": torch.ones(2, 2), "logit_scale": torch.ones(())}
    torch.save({"state_dict": head | backbone if own_backbone else head}, tmp_path / "omg.pth")
    torch.save(backbone | text, tmp_path / "clip.pth")
    clip = None if own_backbone else tmp_path / "clip.pth"
    unused = convert_omg_seg(recipe, tmp_path / "omg.pth", tmp_path / "out", clip)
    parts = ("iou_embed", "mask_tokens", "pb_embedding", "pos_linear")
    expected_unused = {name for name in head if name.split(".")[1] in parts}
    expected_unused |= {name for name in backbone if ".head." in name or "norm_pre" in name}
    assert set(unused) == expected_unused | (set() if own_backbone else set(text))
    encoder: PixelEncoder = MODELS.build({**recipe})
    load_into(encoder, tmp_path / "out" / "model.safetensors")
    images = torch.randn(1, 3, 64, 64)
    expected = trunk.eval().forward_intermediates(images, indices=4, intermediates_only=True)
    for ours, theirs in zip(encoder.backbone.eval()(images), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    segmenter = encoder.segmenter
    assert torch.equal(segmenter.cls_embed.cls_proj[4].weight, head["panoptic_head.cls_proj.4.weight"])
    assert torch.equal(segmenter.query_feat.weight, head["panoptic_head.query_feat.weight"])
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert len(written) == len(head) - sum(name.startswith("panoptic_head") for name in unused) + len(
        encoder.backbone.state_dict()
    )


def test_published_sizes_are_those_of_the_recipe():
    """The rules for the full-size recipe name exactly the published tensors that LIRA uses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_WEIGHTS", "/nonexistent")
        config = Config.fromfile(config_path("lira_8b")).model.pixel_encoder
    with init_empty_weights(include_buffers=False):
        encoder = MODELS.build({**config})
    rules = {rule.source: list(rule.shape) for rule in _head_rules(encoder)}
    published = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in KEYS}
    assert all(str(shape) == published[name] for name, shape in rules.items())
    assert 20e6 < sum(math.prod(shape) for shape in rules.values()) < 21e6
    with init_empty_weights():
        trunk = timm.create_model("convnext_large")
    clip = {f"visual.trunk.{name}" for name in trunk.state_dict() if not name.startswith("head.")}
    assert {rule.source for rule in _backbone_rules(encoder, "visual.trunk.")} == clip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("panoptic_head.query_feat.weight"), "1 missing: panoptic_head.query_feat.weight"),
        (lambda state: state.update({"panoptic_head.new": torch.ones(1)}), "1 unknown: panoptic_head.new"),
        (lambda state: state.update({"panoptic_head.level_embed.weight": torch.ones(1)}), "1 of another shape"),
    ],
)
def test_what_does_not_fit_is_named(recipe, tmp_path, spoil, message):
    state = published_head(SHRUNK["dims"]) | published_backbone("backbone.", lambda i: f"layer{i + 1}")[1]
    spoil(state)
    torch.save(state, tmp_path / "omg.pth")
    with pytest.raises(ValueError, match=message):
        convert_omg_seg(recipe, tmp_path / "omg.pth", tmp_path / "out")


def test_without_any_backbone(recipe, tmp_path):
    torch.save(published_head(SHRUNK["dims"]), tmp_path / "omg.pth")
    with pytest.raises(ValueError, match=r"omg\.pth holds no backbone: give the CLIP checkpoint"):
        convert_omg_seg(recipe, tmp_path / "omg.pth", tmp_path / "out")
