"""A LIRA that trains a copy of the segmenter's decoder: where it starts, what reaches it, and how it is kept."""

import pytest
import torch
from support.tiny_model import (
    D,
    H,
    caption_record,
    make_batch,
    mask_decoder_config,
    random_images,
    refer_record,
    text_record,
    tiny_lira,
    tiny_pixel_encoder,
)

from lira_plugin.models import MaskDecoder

OWN = mask_decoder_config(decoder="own")
FROZEN = ("pixel_encoder", "semantic_encoder")
PREFIX = "mask_decoder.decoder."


@pytest.fixture
def data(tmp_path):
    return make_batch([refer_record(tmp_path, "a", ["cup", "dog"]), caption_record(tmp_path, "b", "A hat.", ["hat"])])


def own_weights(model):
    return {name.removeprefix(PREFIX): value for name, value in model.state_dict().items() if name.startswith(PREFIX)}


def is_copy(model, segmenter):
    """Whether the own decoder has the weights of the segmenter, all of them and apart."""
    weights, state = own_weights(model), segmenter.state_dict()
    names = {name for name in state if name.startswith(("transformer_decoder.", "mask_embed."))}
    assert weights.keys() == names and len(names) > 30
    assert all(weights[name].data_ptr() != state[name].data_ptr() for name in names)
    return all(torch.equal(weights[name], state[name]) for name in names)


@torch.no_grad()
def test_a_copy_decodes_bit_by_bit_as_the_shared_one_does():
    shared, own = tiny_lira().eval(), tiny_lira(mask_decoder=OWN).eval()
    states, images = torch.randn(3, H), torch.tensor([0, 1, 1])
    masks = []
    for model in (shared, own):
        features = model.pixel_encoder.encode(random_images(2))
        masks.append(model.mask_decoder(states, images, features.decoder_memory, model.pixel_encoder.segmenter))
    assert all(torch.equal(one, other) for one, other in zip(*masks, strict=True))
    own.mask_decoder.decoder.mask_embed[-1].bias.add_(1.0)
    changed = own.mask_decoder(states, images, features.decoder_memory, own.pixel_encoder.segmenter)
    assert not torch.equal(changed[-1], masks[1][-1]), "its own weights decode"


def test_losses_train_the_copy_and_leave_the_segmenter(data):
    model = tiny_lira(mask_decoder=OWN, frozen=FROZEN).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = model(**data, mode="loss")
    (losses["loss_mask"] + losses["loss_dice"]).backward()
    segmenter = model.pixel_encoder.segmenter
    assert all(parameter.grad is None for parameter in segmenter.parameters())
    moved = [bool(parameter.grad.any()) for parameter in model.mask_decoder.decoder.parameters()]
    assert sum(moved) > 0.8 * len(moved), (
        "queries are decoded alone, so queries and keys of self-attention learn nothing"
    )
    optimizer.step()
    assert not is_copy(model, segmenter)
    assert is_copy(tiny_lira(mask_decoder=OWN), segmenter), "the segmenter is as it was"


def test_a_batch_without_seg_gives_every_weight_of_the_copy_a_zero_gradient():
    model = tiny_lira(mask_decoder=OWN, frozen=FROZEN).train()
    model.parse_losses(model(**make_batch([text_record("a")]), mode="loss"))[0].backward()
    gradients = [parameter.grad for parameter in model.mask_decoder.parameters()]
    assert len(gradients) > 30 and all(gradient is not None and not gradient.any() for gradient in gradients)


def test_it_is_saved_with_the_trained_parts_and_loaded_strictly(tmp_path):
    model = tiny_lira(mask_decoder=OWN, frozen=FROZEN)
    with torch.no_grad():
        for parameter in model.mask_decoder.decoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    state = model.state_dict()
    assert {name.split(".")[2] for name in state if name.startswith(PREFIX)} == {"transformer_decoder", "mask_embed"}
    torch.save({"state_dict": state}, tmp_path / "iter_1.pth")
    other = tiny_lira(seed=1, mask_decoder=OWN, frozen=FROZEN)
    other.load_state_dict(torch.load(tmp_path / "iter_1.pth")["state_dict"])
    assert all(torch.equal(value, own_weights(model)[name]) for name, value in own_weights(other).items())
    without = {name: value for name, value in state.items() if not name.startswith(PREFIX)}
    with pytest.raises(ValueError, match=r"missing: mask_decoder\.decoder\."):
        other.load_state_dict(without, strict=False)
    with pytest.raises(ValueError, match=r"unknown: mask_decoder\.decoder\."):
        tiny_lira(frozen=FROZEN).load_state_dict(state, strict=False)


@pytest.fixture
def stages(tmp_path):
    """Files of earlier stages: a segmenter, and LIRAs over it without and with an own decoder that was trained."""
    torch.manual_seed(7)
    encoder = tiny_pixel_encoder()
    torch.save({"state_dict": encoder.state_dict()}, tmp_path / "segmenter.pth")
    first = {"path": tmp_path / "segmenter.pth", "prefix": "pixel_encoder."}
    stages = {"segmenter": first, "encoder": encoder}
    for name, decoder in (("without", "shared"), ("with", "own")):
        config = mask_decoder_config(decoder=decoder)
        model = tiny_lira(seed=8, mask_decoder=config, frozen=["pixel_encoder"], init_from=[first])
        for parameter in model.mask_decoder.parameters():
            parameter.data += 0.5
        stages[f"{name} model"] = model
        torch.save({"state_dict": model.state_dict()}, tmp_path / f"{name}.pth")
        stages[name] = {"path": tmp_path / f"{name}.pth", "may_lack": ["pixel_encoder"]}
    return stages


def test_it_starts_from_the_weights_that_the_segmenter_was_given(stages):
    model = tiny_lira(mask_decoder=OWN, frozen=FROZEN, init_from=[stages["segmenter"]])
    assert is_copy(model, stages["encoder"].segmenter)


def test_an_earlier_stage_without_one_leaves_the_copy(stages):
    lacking = {**stages["without"], "may_lack": ["pixel_encoder", "mask_decoder.decoder"]}
    model = tiny_lira(mask_decoder=OWN, frozen=FROZEN, init_from=[stages["segmenter"], lacking])
    assert is_copy(model, stages["encoder"].segmenter)
    trained = stages["without model"].mask_decoder.state_proj[0].weight
    assert torch.equal(model.mask_decoder.state_proj[0].weight, trained), "the rest is loaded"
    with pytest.raises(ValueError, match=r"missing: mask_decoder\.decoder\."):
        tiny_lira(mask_decoder=OWN, init_from=[stages["segmenter"], stages["without"]])


def test_an_earlier_stage_with_a_part_of_one_is_refused(stages, tmp_path):
    """Its weights would be mixed with those of the segmenter."""
    state = stages["with model"].state_dict()
    first = next(name for name in state if name.startswith("mask_decoder.decoder."))
    torch.save({name: value for name, value in state.items() if name != first}, tmp_path / "part.pth")
    part = {"path": tmp_path / "part.pth", "may_lack": ["pixel_encoder", "mask_decoder.decoder"]}
    with pytest.raises(ValueError, match=rf"1 are missing: {first.removeprefix('mask_decoder.')}; .*ignore="):
        tiny_lira(mask_decoder=OWN, frozen=FROZEN, init_from=[stages["segmenter"], part])
    assert tiny_lira(
        mask_decoder=OWN, frozen=FROZEN, init_from=[stages["segmenter"], {**part, "ignore": ["mask_decoder.decoder"]}]
    )


def test_that_of_an_earlier_stage_wins(stages):
    model = tiny_lira(mask_decoder=OWN, frozen=FROZEN, init_from=[stages["segmenter"], stages["with"]])
    expected, found = own_weights(stages["with model"]), own_weights(model)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert not is_copy(model, stages["encoder"].segmenter)
    with pytest.raises(ValueError, match=r"unknown: mask_decoder\.decoder\."):
        tiny_lira(init_from=[stages["segmenter"], stages["with"]])


def test_a_stage_whose_losses_do_not_reach_it_is_refused():
    """Data parallelism would end at the second step, for weights without a gradient."""
    settings = {"mask_decoder": OWN, "loss_weights": {"masks": 0.0, "projection": 1.0}}
    with pytest.raises(ValueError, match=r"loss_weights\['masks'\] is 0: take 'shared' in this stage"):
        tiny_lira(**settings)
    model = tiny_lira(**settings, frozen=["mask_decoder.decoder"])
    assert not own_weights(model), "what is frozen is not saved"


def test_wrong_uses_are_errors():
    with pytest.raises(ValueError, match="must be 'shared' or 'own', got 'owned'"):
        MaskDecoder(H, decoder="owned")
    encoder = tiny_pixel_encoder().eval()
    memory = encoder.encode(random_images(1)).decoder_memory
    decoder = MaskDecoder(H, D, decoder="own")
    with pytest.raises(RuntimeError, match=r"call copy_decoder\(segmenter\) first"):
        decoder(torch.randn(1, H), torch.tensor([0]), memory, encoder.segmenter)
