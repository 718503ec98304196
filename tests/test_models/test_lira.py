import copy
import math

import pytest
import torch
import torch.nn.functional as F
from support.tiny_model import (
    IMAGE,
    LAYOUT,
    TILE,
    H,
    caption_record,
    lira_config,
    make_batch,
    make_samples,
    pixel_encoder_config,
    refer_record,
    text_record,
    tiny_lira,
    tiny_llama,
    tiny_pixel_encoder,
)
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lira_plugin.datasets import grounding_collate
from lira_plugin.models import LIRA, InterleavedLLM, QueryLoss
from lira_plugin.models import visual_blocks as batch_images
from lira_plugin.registry import MODELS
from lira_plugin.structures import IGNORE_INDEX, TokenKind, VisualLayout

FROZEN = ("pixel_encoder", "semantic_encoder.vit")


@pytest.fixture
def records(tmp_path):
    return [
        refer_record(tmp_path, "a", ["red cup", "dog"]),
        text_record("b"),
        caption_record(tmp_path, "c", "A man with his hat.", ["man", "hat"], 30, 40),
    ]


def total(losses):
    """What MMEngine's ``parse_losses`` adds up."""
    return sum(value for name, value in losses.items() if "loss" in name)


def test_losses_of_a_mixed_batch_are_finite_and_named(records):
    model = tiny_lira()
    losses = model(**make_batch(records), mode="loss")
    assert set(losses) == {"loss_llm", "loss_mask", "loss_dice", "seg/skipped", "text/cut"}
    assert all(value.isfinite() and value.dim() == 0 for value in losses.values())
    assert all(losses[name] > 0 for name in losses if "loss" in name) and losses["seg/skipped"] == 0
    parsed, log = model.parse_losses(losses)
    torch.testing.assert_close(parsed, total(losses))
    assert log["seg/skipped"] == 0
    parsed.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None and "segmenter" not in name]
    assert not missing, "every trained part has a gradient"


def test_loss_weights_scale_their_branch_and_zero_leaves_it_out(records):
    batch = make_batch(records[:1])
    plain = tiny_lira()(**batch, mode="loss")
    torch.manual_seed(5)
    model = tiny_lira(loss_weights={"llm": 3.0, "masks": 0.0, "projection": 2.0})
    losses = model(**batch, mode="loss")
    assert set(losses) == {"loss_llm", "loss_projection", "seg/skipped", "text/cut"}
    torch.testing.assert_close(losses["loss_llm"], 3 * plain["loss_llm"])


def test_misspelt_settings_are_errors():
    with pytest.raises(ValueError, match=r"no setting 'querry'.*settings are: llm, masks, projection"):
        tiny_lira(loss_weights={"querry": 1.0})
    with pytest.raises(TypeError, match="max_new_token'; is 'max_new_tokens' meant"):
        tiny_lira(generation={"max_new_token": 5})
    with pytest.raises(ValueError, match=r"loss_weights\.masks must be a number, got '1'"):
        tiny_lira(loss_weights={"masks": "1"})
    with pytest.raises(ValueError, match="init_from must be a dict, got 'a.pth'"):
        tiny_lira(init_from=["a.pth"])
    with pytest.raises(ValueError, match="init_from has no setting 'pth'; is 'path' meant"):
        tiny_lira(init_from=[{"pth": "a.pth"}])
    with pytest.raises(ValueError, match="lora has no setting 'rank'"):
        LIRA(**lira_config() | {"llm": {**lira_config()["llm"], "lora": {"rank": 4, "train_embeddings": True}}})
    with pytest.raises(ValueError, match="special_tokens has no setting 'sag'; is 'seg' meant"):
        tiny_lira(special_tokens={"sag": "[SEG]"})
    for end in ("", "<|im_edn|>"):
        with pytest.raises(ValueError, match=r"is not one token of the tokenizer .*: change .*end_token"):
            tiny_lira(generation={"end_token": end})


def test_projection_loss_is_the_mean_square_of_what_the_state_projection_recovers(records):
    batch = make_batch(records[:1])
    model = tiny_lira(loss_weights={"projection": 10.0}).eval()
    loss = model(**batch, mode="loss")["loss_projection"]
    objects = model.pixel_encoder.encode(batch["batch"].pixel_images).objects
    token = model.sefe.object_proj(model.sefe.query_proj(objects))
    expected = 10 * (model.mask_decoder.state_proj(token) - objects).square().mean()
    torch.testing.assert_close(loss, expected)


def test_query_loss_asks_each_seg_state_for_the_query_that_segments_its_object_best(records):
    data = make_batch(records)
    model = tiny_lira(loss_weights={"masks": 0.0}, extra_losses=[{"type": QueryLoss, "weight": 2.0}]).eval()
    features = model.pixel_encoder.encode(data["batch"].pixel_images)
    # Queries of random weights segment nothing: let some be the objects, with a flaw, and leave one object without.
    truth = data["batch"].masks.float()
    truth = F.interpolate(truth[:, None], features.object_masks.shape[-2:], mode="nearest")[:, 0] > 0.5
    object_masks = torch.zeros_like(features.object_masks)
    known = {0: (0, 3), 1: (0, 1), 3: (1, 2)}  # mask: image, query
    for mask, (image, query) in known.items():
        object_masks[image, query] = truth[mask]
        object_masks[image, 4, ::2] |= truth[mask][::2]  # the half of it
    model.pixel_encoder.encode = lambda images: features._replace(object_masks=object_masks)
    loss = model(**data, mode="loss")["loss_query"]
    hidden, squares, seg = model(**data).hidden, [], 0
    for row, sample in enumerate(data["data_samples"]):
        for place in (sample.labels == model.ids.seg).nonzero().flatten().tolist():
            mask = int(data["batch"].seg_mask_index[seg])
            seg += 1
            if mask in known:
                wanted = features.objects[known[mask]]
                squares.append((model.mask_decoder.state_proj(hidden[row, place]) - wanted).square().mean())
    assert len(squares) == 6
    torch.testing.assert_close(loss, 2 * torch.stack(squares).mean())


def test_masks_are_learnt_from_the_states_at_the_seg_rows_with_their_own_images_and_masks(records, monkeypatch):
    model = tiny_lira().eval()
    data = make_batch(records)
    batch = data["batch"]
    calls, targets = [], []
    model.mask_decoder.register_forward_hook(lambda module, args, output: calls.append(args))
    original = model.mask_decoder.loss
    monkeypatch.setattr(model.mask_decoder, "loss", lambda logits, t: targets.append(t) or original(logits, t))
    model(**data, mode="loss")
    hidden = model(**data).hidden
    ((states, owner, *_),) = calls
    expected, images, wanted = [], [], []
    samples, image = data["data_samples"], 0
    for row, sample in enumerate(samples):
        segs = (sample.labels == model.ids.seg).nonzero().flatten().tolist()
        assert len(segs) == len(sample.seg_mask_index)
        expected += [hidden[row, place] for place in segs]
        images += [image] * len(segs)
        wanted += [sample.masks[number] for number in sample.seg_mask_index.tolist()]
        image += len(sample.pixel_images)
    assert len(expected) == 8 and images == [0] * 4 + [1] * 4
    torch.testing.assert_close(states, torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert owner.tolist() == images
    assert torch.equal(targets[0], torch.stack(wanted))
    assert torch.equal(targets[0][0], targets[0][1]), "a region is supervised before and after its phrase"
    assert batch.seg_mask_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_sample_is_encoded_alike_in_any_company(records):
    model = tiny_lira().eval()
    samples = make_samples(records, max_tiles=3)
    assert len({sample.tile_counts for sample in samples}) > 1
    together = grounding_collate(samples)
    with torch.no_grad():
        hidden = model(**together).hidden
        for row in (0, 2):
            alone = model(**grounding_collate([samples[row]])).hidden[0]
            valid = model.encode(*together.values()).attention_mask[row, : len(alone)]
            torch.testing.assert_close(hidden[row, : len(alone)][valid], alone[valid], atol=1e-4, rtol=1e-4)


def test_without_gradients_the_encoders_are_given_a_part_of_the_images_at_a_time(records, monkeypatch):
    model, batch = tiny_lira().eval(), make_batch(records, max_tiles=3)
    given = {"pixel": [], "semantic": []}

    def watch(encoder, name, sizes):
        encode = getattr(encoder, name)
        monkeypatch.setattr(encoder, name, lambda images: sizes.append(len(images)) or encode(images))

    watch(model.pixel_encoder, "encode", given["pixel"])
    watch(model.semantic_encoder, "forward", given["semantic"])
    tiles = len(batch["batch"].tiles) + len(batch["batch"].view_tiles)
    with torch.no_grad():
        whole = model.encode(*batch.values())
        monkeypatch.setattr(batch_images, "PIXELS_TOGETHER", IMAGE * IMAGE)
        parts = model.encode(*batch.values())
    model.encode(*batch.values())  # with gradients
    several = IMAGE * IMAGE // TILE**2
    assert given["pixel"] == [2, 1, 1, 2]
    assert given["semantic"][0] == given["semantic"][-1] == tiles > several
    assert max(given["semantic"][1:-1]) == several and sum(given["semantic"][1:-1]) == tiles
    torch.testing.assert_close(parts.embeddings, whole.embeddings, atol=1e-4, rtol=1e-4)
    assert torch.equal(parts.attention_mask, whole.attention_mask)
    for ours, theirs in zip(flat(parts.features), flat(whole.features), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def flat(nested):
    return [one for part in nested for one in flat(part)] if isinstance(nested, tuple) else [nested]


def test_rows_hold_their_features_in_the_order_of_the_figure(records):
    model = tiny_lira().eval()
    (sample,) = make_samples(records[:1], max_tiles=3)
    data = grounding_collate([sample])
    batch = data["batch"]
    with torch.no_grad():
        encoded = model.encode(**data)
        features = model.pixel_encoder.encode(batch.pixel_images)
        semantic = model.semantic_encoder(batch.tiles)
        tokens = model.sefe(features, semantic, batch.tile_image)
        regions = model.semantic_encoder(batch.view_tiles)
        text = model.llm.embed(batch.input_ids[0])
    start = int((batch.kinds[0] != TokenKind.TEXT).nonzero()[0])
    block = [
        semantic.flatten(0, 1),
        model.sefe.semantic_separator[None],
        tokens.pixels[0],
        model.sefe.pixel_separator[None],
        tokens.objects[0],
    ]
    expected = torch.cat(block)
    end = start + len(expected)
    assert LAYOUT.block(len(semantic)) == batch.kinds[0, start:end].tolist()
    torch.testing.assert_close(encoded.embeddings[0, start:end], expected, atol=1e-5, rtol=1e-5)
    rows = batch.kinds[0] == TokenKind.VIEW
    torch.testing.assert_close(encoded.embeddings[0, rows], regions.flatten(0, 1), atol=1e-5, rtol=1e-5)
    words = batch.kinds[0] == TokenKind.TEXT
    torch.testing.assert_close(encoded.embeddings[0, words], text[words])
    mask = encoded.attention_mask[0]
    assert torch.equal(mask[batch.kinds[0] == TokenKind.OBJECT], features.object_valid[0])
    assert mask[batch.kinds[0] != TokenKind.OBJECT].all()


def test_frozen_parts_get_no_gradient_and_stay_in_evaluation_mode(records):
    model = tiny_lira(frozen=FROZEN)
    before = {name: value.clone() for name, value in model.pixel_encoder.state_dict().items()}
    for wanted in (True, False, True):
        model.train(wanted)
        assert not any(m.training for name in FROZEN for m in model.get_submodule(name).modules())
        assert model.sefe.training is model.semantic_encoder.projector.training is wanted
    total(model(**make_batch(records), mode="loss")).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(FROZEN), name
    after = model.pixel_encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()), "no running average has moved"


def test_frozen_encoders_keep_nothing_for_the_backward_pass(records):
    model = tiny_lira(frozen=("pixel_encoder", "semantic_encoder")).train()
    batch = make_batch(records)["batch"]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        features = model.pixel_encoder.encode(batch.pixel_images)
        semantic = model.semantic_encoder(batch.tiles)
    assert not kept and not semantic.requires_grad
    assert not any(
        tensor.requires_grad for tensor in (features.pixels, features.objects, *features.decoder_memory.memories)
    )


def test_an_unknown_frozen_part_is_an_error():
    with pytest.raises(
        ValueError, match="'pixel_encoderr': the model has no part .*semantic_encoder, pixel_encoder, sefe"
    ):
        tiny_lira(frozen=["pixel_encoderr"])
    with pytest.raises(ValueError, match="MaskDecoder has no part 'x'"):
        tiny_lira(frozen=["mask_decoder.x"])


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_a_checkpoint_holds_what_is_trained():
    model = tiny_lira(frozen=FROZEN)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(model.state_dict()) == trained
    assert not any(name.startswith(FROZEN) for name in trained) and len(trained) > 20
    complete = tiny_lira()
    buffers = {name for name, _ in complete.named_buffers() if "running" in name or "num_batches" in name}
    assert buffers and set(complete.state_dict()) == {name for name, _ in complete.named_parameters()} | buffers


def test_a_checkpoint_inside_of_a_wrapper_holds_the_same_names():
    wrapper = torch.nn.ModuleDict({"module": tiny_lira(frozen=FROZEN)})
    names = {name.removeprefix("module.") for name in wrapper.state_dict()}
    assert names == set(tiny_lira(frozen=FROZEN).state_dict())


def test_a_frozen_language_model_with_tied_embeddings_is_not_saved():
    model = tiny_lira(frozen=["llm"], llm={"tie_word_embeddings": True})
    assert not [name for name in model.state_dict() if name.startswith("llm")]
    model.load_state_dict(tiny_lira(seed=2, frozen=["llm"], llm={"tie_word_embeddings": True}).state_dict())


def load_with_torch(model, state):
    model.load_state_dict(state, strict=False)


def load_strictly(model, state):
    model.load_state_dict(state, strict=True)


def load_with_mmengine(model, state):
    from mmengine.runner.checkpoint import _load_checkpoint_to_model

    _load_checkpoint_to_model(model, {"state_dict": state}, strict=False)


LOADERS = [load_with_torch, load_strictly, load_with_mmengine]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("frozen", [(), FROZEN])
def test_save_and_load_round_trip(load, frozen, tmp_path):
    source, target = tiny_lira(seed=1, frozen=frozen), tiny_lira(seed=2, frozen=frozen)
    kept = {name: value.clone() for name, value in target.named_parameters() if not value.requires_grad}
    torch.save(source.state_dict(), tmp_path / "a.pth")
    load(target, torch.load(tmp_path / "a.pth", weights_only=True))
    assert same(target.state_dict(), source.state_dict())
    assert all(torch.equal(target.get_parameter(name), value) for name, value in kept.items())


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("sefe.query_proj.weight"), r"1 missing: sefe\.query_proj\.weight"),
        (lambda state: state.update({"sefe.extra": torch.zeros(1)}), r"1 unknown: sefe\.extra"),
        (
            lambda state: state.update({"sefe.query_proj.bias": torch.zeros(3)}),
            r"1 of another shape: sefe\.query_proj\.bias \(3,\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_an_error_even_without_strict(load, change, message):
    state = dict(tiny_lira(frozen=FROZEN).state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        load(tiny_lira(frozen=FROZEN), state)


def test_a_checkpoint_that_holds_frozen_parts_too_fits(tmp_path):
    source, target = tiny_lira(seed=1), tiny_lira(seed=2, frozen=FROZEN)
    target.load_state_dict(source.state_dict())
    assert torch.equal(
        target.pixel_encoder.segmenter.query_feat.weight, source.pixel_encoder.segmenter.query_feat.weight
    )


def test_a_copy_is_as_good_as_the_model(records):
    model = tiny_lira(frozen=FROZEN).eval()
    double = copy.deepcopy(model)
    double.load_state_dict(tiny_lira(seed=4, frozen=FROZEN).state_dict())
    assert not torch.equal(double.sefe.query_proj.weight, model.sefe.query_proj.weight)
    assert set(double.state_dict()) == set(model.state_dict())


def test_stages_hand_their_weights_on(tmp_path):
    """As in the recipe: the segmenter alone, then LIRA around it, then all but the segmenter."""
    torch.manual_seed(7)
    segmenter = tiny_pixel_encoder()
    torch.save({"state_dict": segmenter.state_dict()}, tmp_path / "segmenter.pth")
    first = {"path": tmp_path / "segmenter.pth", "prefix": "pixel_encoder."}
    pretrained = tiny_lira(seed=1, enrich=False, frozen=["pixel_encoder"], init_from=[first])
    assert same(pretrained.pixel_encoder.state_dict(), segmenter.state_dict())
    torch.save({"state_dict": pretrained.state_dict()}, tmp_path / "pretrain.pth")
    second = {"path": tmp_path / "pretrain.pth", "may_lack": ["pixel_encoder", "sefe.enrich"]}
    final = tiny_lira(seed=2, frozen=["pixel_encoder"], init_from=[first, second])
    assert same(final.pixel_encoder.state_dict(), segmenter.state_dict())
    state, expected = final.state_dict(), pretrained.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert {name for name in state if name not in expected} == {n for n in state if n.startswith("sefe.enrich")}
    with pytest.raises(ValueError, match=r"missing: .*sefe\.enrich"):
        tiny_lira(init_from=[{**second, "may_lack": ["pixel_encoder"]}])


def test_lora_checkpoints_hold_adapters_and_embeddings_and_reproduce_the_model(records):
    torch.manual_seed(8)
    base = tiny_llama()

    def build(seed):
        lora = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "train_embeddings": True}
        config = {"type": InterleavedLLM, "llm": copy.deepcopy(base), "lora": lora}
        torch.manual_seed(seed)
        model = LIRA(**{**lira_config(frozen=("semantic_encoder.vit",)), "llm": config})
        for parameter in model.llm.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        return model.eval()

    source, target = build(1), build(2)
    names = [name for name in source.state_dict() if name.startswith("llm.")]
    assert len(names) == 10 and all(
        "lora_" in n or n.endswith(("embed_tokens.weight", "lm_head.weight")) for n in names
    )
    target.semantic_encoder.vit.load_state_dict(source.semantic_encoder.vit.state_dict())
    target.load_state_dict(source.state_dict())
    data = make_batch(records)
    with torch.no_grad():
        assert torch.equal(source(**data).hidden, target(**data).hidden)


def test_lora_is_refused_where_new_tokens_would_take_spare_rows_untrained():
    config = {"type": InterleavedLLM, "llm": tiny_llama(1000), "lora": {"r": 2, "target_modules": ["q_proj"]}}
    with pytest.raises(ValueError, match="4 special tokens are new to the LLM"):
        LIRA(**{**lira_config(), "llm": config})


def test_a_missing_stage_tells_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="xtuner train stage1"):
        tiny_lira(init_from=[{"path": tmp_path / "none", "made_by": "xtuner train stage1"}])


def test_validation_under_zero_3_on_several_processes_is_refused(records, monkeypatch):
    """It would hang: no two processes have as many passes."""
    model, data = tiny_lira(), make_batch(records[:1])
    monkeypatch.setattr("lira_plugin.models.lira.get_world_size", lambda: 2)
    model(**data, mode="predict")
    next(model.llm.parameters()).ds_id = 0
    with pytest.raises(RuntimeError, match=r"ZeRO-3\).*xtuner test"):
        model(**data, mode="predict")


def test_the_llm_may_be_of_another_type_than_the_rest(records):
    model = tiny_lira(extra_losses=[{"type": QueryLoss, "weight": 1.0}]).train()
    model.llm.bfloat16()
    loss, _ = model.parse_losses(model(**make_batch(records), mode="loss"))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.llm.parameters() if p.grad is not None)


def test_masks_that_do_not_match_the_segs_are_an_error_that_names_the_sample(records):
    data = make_batch(records[:1])
    broken = data["batch"]._replace(seg_mask_index=data["batch"].seg_mask_index[:-1])
    with pytest.raises(ValueError, match=r"4 <seg> tokens .* 3 masks .*refer/test record a"):
        tiny_lira()(broken, data["data_samples"], mode="loss")


def test_a_layout_that_does_not_match_the_model_is_an_error_that_names_the_sample(records):
    layout = VisualLayout(tokens_per_tile=4, pixel_tokens=4, object_tokens=7)
    with pytest.raises(ValueError, match="OBJECT.*refer/test record a"):
        tiny_lira()(**make_batch(records[:1], layout=layout), mode="loss")


def test_text_alone_trains_the_language_model_and_gives_zero_gradients_elsewhere():
    model = tiny_lira(
        frozen=FROZEN, loss_weights={"projection": 1.0}, extra_losses=[{"type": QueryLoss, "weight": 1.0}]
    )
    data = make_batch([text_record("a"), text_record("b", "Why?", "because")])
    losses = model(**data, mode="loss")
    visual = [losses[f"loss_{name}"] for name in ("mask", "dice", "projection", "query")]
    assert all(loss == 0 and loss.requires_grad for loss in visual) and losses["loss_llm"] > 0
    total(losses).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()) == name.startswith("llm."), name


def test_an_image_without_regions_gives_zero_mask_losses(tmp_path):
    record = text_record("a", image_path=refer_record(tmp_path, "a", ["x"]).image_path)
    model = tiny_lira(frozen=FROZEN)
    losses = model(**make_batch([record]), mode="loss")
    assert losses["loss_mask"] == losses["loss_dice"] == 0
    total(losses).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.mask_decoder.parameters())
    assert model.sefe.query_proj.weight.grad.any()


def test_text_is_read_the_same_without_an_image_in_the_batch(records):
    """The blank image that a text-only batch is run with leaves no trace."""
    model = tiny_lira().eval()
    (sample,) = make_samples([text_record("b")])
    with torch.no_grad():
        alone = model(**grounding_collate([sample])).hidden[0]
        mixed = model(**grounding_collate([sample, *make_samples(records[:1])])).hidden[0, : len(sample.input_ids)]
        ids = sample.input_ids[None]
        expected = model.llm.causal_lm.model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


def test_regions_that_do_not_fit_are_counted_and_the_rest_is_learnt(records):
    (whole,) = make_samples(records[2:3])
    text_rows = int((whole.kinds == TokenKind.TEXT).sum())
    data = make_batch([records[2], records[0]], max_length=text_rows - 3)
    dropped = [sample.dropped_regions for sample in data["data_samples"]]
    losses = tiny_lira()(**data, mode="loss")
    assert sum(dropped) > 0 and losses["seg/skipped"] == sum(dropped)
    cut = [sample.cut_answers for sample in data["data_samples"]]
    assert sum(cut) > 0 and losses["text/cut"] == sum(cut)
    assert all(value.isfinite() for value in losses.values())


def test_a_batch_without_any_supervision_has_a_zero_loss(records):
    data = make_batch(records[:1])
    batch = data["batch"]._replace(
        labels=torch.full_like(data["batch"].labels, IGNORE_INDEX),
        seg_mask_index=data["batch"].seg_mask_index[:0],
        dropped_regions=torch.tensor([2]),
    )
    model = tiny_lira()
    losses = model(batch, data["data_samples"], mode="loss")
    assert total(losses) == 0 and losses["seg/skipped"] == 2
    total(losses).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_without_sefe(records):
    model = tiny_lira(enrich=False)
    layout = VisualLayout(tokens_per_tile=4, pixel_tokens=4, object_tokens=6, semantic=False)
    data = make_batch(records, layout=layout)
    assert not (data["batch"].kinds == TokenKind.SEMANTIC).any()
    encoded = []
    model.semantic_encoder.register_forward_pre_hook(lambda module, args: encoded.append(len(args[0])))
    losses = model(**data, mode="loss")
    assert encoded == [1 + len(data["batch"].view_tiles)] and len(data["batch"].tiles) > 1, "no tile that nothing reads"
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    assert model.semantic_encoder.projector[1].weight.grad.any(), "views are still semantic tokens"
    with pytest.raises(ValueError, match="SEMANTIC features"):
        model(**make_batch(records), mode="loss")


def test_without_ilvc(records):
    data = make_batch(records, prob=0.0)
    assert len(data["batch"].view_tiles) == 0 and len(data["batch"].seg_mask_index) == 4
    losses = tiny_lira()(**data, mode="loss")
    assert all(value.isfinite() for value in losses.values()) and losses["loss_mask"] > 0


def test_a_mode_that_does_not_exist_is_an_error(records):
    model, data = tiny_lira(), make_batch(records[:1])
    with pytest.raises(ValueError, match="'train'"):
        model(**data, mode="train")
    with pytest.raises(ValueError, match="needs data_samples"):
        model(data["batch"], mode="predict")


def test_tensor_mode_gives_hidden_states(records):
    data = make_batch(records)
    output = tiny_lira()(**data)
    assert output.hidden.shape == (*data["batch"].input_ids.shape, H) and output.loss is None


def test_the_language_loss_is_that_of_hugging_face_on_the_same_embeddings(records):
    model, data = tiny_lira().eval(), make_batch(records)
    with torch.no_grad():
        encoded = model.encode(**data)
        hidden = model(**data).hidden
        logits = model.llm.causal_lm.lm_head(hidden)[:, :-1].flatten(0, 1)
        expected = F.cross_entropy(logits, data["batch"].labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX)
        loss = model(**data, mode="loss")["loss_llm"]
    torch.testing.assert_close(loss, expected)
    assert not encoded.attention_mask[1, len(data["data_samples"][1].input_ids) :].any()


def test_the_model_works_under_autocast(records):
    model, data = tiny_lira(), make_batch(records)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(**data, mode="loss")
        total(losses).backward()
    assert losses["loss_mask"].dtype == losses["loss_dice"].dtype == torch.float32
    assert all(value.isfinite() for value in losses.values())
    reference = tiny_lira()(**data, mode="loss")
    assert math.isclose(losses["loss_llm"].item(), reference["loss_llm"].item(), rel_tol=0.05)


@pytest.mark.slow
def test_a_few_steps_learn_a_batch(records):
    model = tiny_lira(frozen=FROZEN)
    data = make_batch(records)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 5e-3)
    history = []
    for _ in range(40):
        loss = total(model(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.6 * history[0]


def test_parts_are_built_by_name_from_the_registry():
    config = pixel_encoder_config()
    assert MODELS.build({**config, "type": "lira_plugin.PixelEncoder"}).unshuffle == 1
    assert MODELS.get("lira_plugin.LIRA").__name__ == "LIRA"


def test_the_weights_survive_what_mmengine_does_before_training():
    model = tiny_lira()
    before = {name: value.clone() for name, value in torch.nn.Module.state_dict(model).items()}
    model.init_weights()
    for name, value in torch.nn.Module.state_dict(model).items():
        assert torch.equal(value, before[name]), name


def test_ids_with_gaps_have_rows():
    """Some published vocabularies skip ids; then the highest one is not that of the last token."""
    core = Tokenizer(models.BPE({chr(97 + number): number for number in range(25)} | {"z": 99}, []))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    model = LIRA(**lira_config(llm={"vocab_size": 8}, generation={"end_token": "z"}) | {"tokenizer": tokenizer})
    assert len(tokenizer) < 99 < len(model.llm.causal_lm.get_input_embeddings().weight)
    assert model.llm.embed(torch.tensor(tokenizer.convert_tokens_to_ids("z"))).shape == (H,)


def test_a_loss_that_no_other_loss_may_replace(records):
    """Two losses of one name would be one, in silence."""

    class Twin(torch.nn.Module):
        def forward(self, inputs):
            return {"loss_mask": inputs.states.sum() * 0}

    model = tiny_lira()
    model.extra_losses.append(Twin())
    with pytest.raises(ValueError, match=r"Twin gives \['loss_mask'\]"):
        model(**make_batch(records), mode="loss")


def test_a_mask_decoder_that_nothing_trains_is_refused():
    """Its weights would get no gradient, which data parallelism takes for an error much later."""
    with pytest.raises(ValueError, match="no loss trains mask_decoder"):
        tiny_lira(loss_weights={"masks": 0.0})
    tiny_lira(loss_weights={"masks": 0.0}, frozen=["mask_decoder"])
    tiny_lira(loss_weights={"masks": 0.0, "projection": 1.0})
