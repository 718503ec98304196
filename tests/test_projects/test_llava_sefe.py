"""xtuner's LLaVA with SEFE, from a copy of its folder: what the LLM reads, what is saved, what is counted, that it trains."""

import pytest
import torch
import torch.nn.functional as F
from support.project_runs import copy_project, tiny_config, train_and_test

from lira_plugin.registry import METRICS, MODELS

IMAGE_TOKEN = -200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the project, with scenes beside it."""
    return copy_project("llava_sefe", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def configs(folder):
    names = ("llava_sefe_tiny", "llava_sefe_tiny_no_sefe")
    return {name: tiny_config(folder, name, init_from=[]) for name in names}


@pytest.fixture(scope="module")
def model(configs):
    torch.manual_seed(0)
    return MODELS.build(configs["llava_sefe_tiny"].model).eval()


def dialogue(length=12, answers=((4, 6), (8, 11))):
    """A batch of one: an image, words, and two answers."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(10, 500, (1, length), generator=generator)
    ids[0, 1] = IMAGE_TOKEN
    labels = torch.full_like(ids, -100)
    for begin, end in answers:
        labels[0, begin:end] = ids[0, begin:end]
    images = torch.randn(1, 3, 128, 128, generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids, dtype=torch.bool),
        "position_ids": torch.arange(length)[None],
        "labels": labels,
        "pixel_values": images,
    }


@torch.no_grad()
def test_the_llm_reads_tiles_and_patches_that_have_looked_at_them(model):
    images = torch.randn(2, 3, 128, 128)
    small = F.interpolate(images, (96, 96), mode="bicubic", antialias=True, align_corners=False)
    hidden = model.visual_encoder(small, output_hidden_states=True).hidden_states[model.visual_select_layer]
    patches = model.projector(hidden[:, 1:])
    tokens = model.image_tokens(images)
    for index, image in enumerate(images):
        values = ((image * model.std + model.mean).clamp(0, 1) * 255).round().to(torch.uint8)
        tiles = torch.stack([values[:, y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)])
        semantic = model.semantic_encoder(tiles).flatten(0, 1)
        fused = model.sefe(patches[index : index + 1], semantic[None]).pixels[0]
        torch.testing.assert_close(tokens[index], torch.cat([semantic, fused]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_without_sefe_it_is_the_llava_of_xtuner(configs):
    torch.manual_seed(0)
    plain = MODELS.build(configs["llava_sefe_tiny_no_sefe"].model).eval()
    data = dialogue() | {"pixel_values": torch.randn(1, 3, 96, 96)}
    plain.is_first_iter = False
    ours = plain(dict(data))["loss"]
    theirs = super(type(plain), plain).forward(dict(data))["loss"]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_checkpoint_holds_the_new_parts(configs, model):
    state = model.state_dict()
    assert {name for name, _ in model.named_parameters()} <= state.keys()
    torch.manual_seed(1)
    other = MODELS.build(configs["llava_sefe_tiny"].model).eval()
    data = dialogue()
    with torch.no_grad():
        assert other(dict(data))["loss"] != model(dict(data))["loss"]
        other.load_state_dict(state, strict=False)
        assert other(dict(data))["loss"] == model(dict(data))["loss"]
    frozen = MODELS.build(configs["llava_sefe_tiny"].model | {"freeze_semantic_encoder": True, "freeze_llm": True})
    saved = {".".join(name.split(".")[:2]) for name in frozen.state_dict() if name.startswith(("semantic", "llm"))}
    assert saved == {"semantic_encoder.projector"}


@torch.no_grad()
def test_answers_are_counted_one_by_one(model):
    """Against the loss of xtuner's model, and a loop over the positions of each answer."""
    data = dialogue()
    shift = model.image_tokens(data["pixel_values"]).shape[1] - 1
    logits = model(dict(data, labels=None), mode="tensor").logits[0]
    for begin, end in ((4, 6), (8, 11)):  # let the model be right about the first answer
        if begin == 4:
            for position in range(begin, end):
                data["labels"][0, position] = logits[position + shift - 1].argmax()
    (found,) = model(dict(data), mode="predict")
    rights = [
        all(logits[position + shift - 1].argmax() == data["labels"][0, position] for position in range(begin, end))
        for begin, end in ((4, 6), (8, 11))
    ]
    assert rights == [True, False] and (found["right"], found["answers"], found["tokens"]) == (1, 2, 5)
    metric = METRICS.build({"type": "TurnAccuracy"})
    metric.process(None, [found])
    scores = metric.evaluate(1)
    assert scores["llava/loss"] == pytest.approx(float(model(dict(data))["loss"]), rel=1e-5)
    assert scores["llava/accuracy"] == 0.5


@pytest.mark.slow
def test_the_copy_trains_and_is_evaluated(folder, monkeypatch):
    monkeypatch.setenv("LIRA_TINY_ROOT", "tiny")
    losses, scores = train_and_test(
        folder, "configs/llava_sefe_tiny.py", "llava_sefe", ["model.init_from=[]"], iters=12
    )
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert scores["llava/loss"] < losses[0]["loss"]
