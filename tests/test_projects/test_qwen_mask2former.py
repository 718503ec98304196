"""Qwen2-VL with Mask2Former, from a copy of its folder: it computes what transformers' model does, and states become masks."""

import pytest
import torch
from mmengine.config import Config
from support.mmdet_files import mask2former_twin
from support.paths import config_path
from support.project_runs import copy_project, tiny_config, train_and_test
from support.qwen2_vl_twin import write_qwen2_vl
from transformers import Qwen2VLImageProcessor

from lira_plugin.convert import convert_mmdet
from lira_plugin.datasets import fit_to_model, grounding_collate
from lira_plugin.registry import DATASETS, MODELS
from lira_plugin.structures import IGNORE_INDEX, TokenKind


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the project, with scenes beside it."""
    return copy_project("qwen_mask2former", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def config(folder):
    return tiny_config(folder, "qwen_tiny", init_from=[])


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    return MODELS.build(config.model).eval()


def samples(config, model, loader, count):
    dataset = fit_to_model(DATASETS.build(config[loader].dataset), model.input_spec, f"{loader}.dataset")
    return [dataset[index] for index in range(count)]


@pytest.fixture(scope="module")
def prompts(config, model):
    """Five questions, some about the same image, of different lengths."""
    return grounding_collate(samples(config, model, "test_dataloader", 5))


@pytest.fixture(scope="module")
def trained(config, model):
    return grounding_collate(samples(config, model, "train_dataloader", 3))


def test_patches_are_those_of_the_image_processor(model, trained):
    tiles = trained["batch"].tiles
    vision = model.llm.config.vision_config
    processor = Qwen2VLImageProcessor(
        do_resize=False, patch_size=vision.patch_size, merge_size=vision.spatial_merge_size
    )
    processed = processor(list(tiles.permute(0, 2, 3, 1).numpy()), return_tensors="pt")
    torch.testing.assert_close(model.patches(tiles), processed["pixel_values"])
    assert torch.equal(model.grids(len(tiles)), processed["image_grid_thw"])


def text_of(model, batch):
    """Ids as transformers' processor would write them: the pad of an image once for each of its tokens, vision tokens around."""
    start, pad, end = model.tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"])
    ids = batch.input_ids.clone()
    for sample, kinds in enumerate(batch.kinds):
        (block,) = (kinds == TokenKind.SEMANTIC).nonzero(as_tuple=True)
        ids[sample, block[0]], ids[sample, block[1:-1]], ids[sample, block[-1]] = start, pad, end
    return ids


@torch.no_grad()
def test_it_reads_what_transformers_own_model_reads(model, trained):
    """Hidden states and the loss, with positions that the model counts itself; its own mean is over the same tokens."""
    batch = trained["batch"]
    qwen, ids = model.llm.causal_lm, text_of(model, batch)
    labels = batch.labels.masked_fill(batch.labels == IGNORE_INDEX, -100)
    qwen.rope_deltas = None
    expected = qwen(
        input_ids=ids,
        attention_mask=batch.attention_mask.long(),
        pixel_values=model.patches(batch.tiles[batch.block_image]),
        image_grid_thw=model.grids(len(ids)),
        labels=labels,
        output_hidden_states=True,
    )
    output = model.read(model.with_images(batch), batch.attention_mask, batch.tiles, batch.block_image, batch.labels)
    valid = batch.attention_mask
    torch.testing.assert_close(output.hidden[valid], expected.hidden_states[-1][valid], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.loss, expected.loss)
    plain = model.llm(qwen.get_input_embeddings()(ids), valid, batch.labels)
    assert not torch.allclose(plain.loss, output.loss)


def test_every_trained_weight_gets_a_gradient_also_of_text_alone(model, trained):
    batch = trained["batch"]
    text = batch._replace(
        kinds=torch.zeros_like(batch.kinds),
        **{name: getattr(batch, name)[:0] for name in ("pixel_images", "tiles", "tile_image", "block_sample")},
        **{name: getattr(batch, name)[:0] for name in ("block_image", "masks", "mask_image", "seg_mask_index")},
        labels=batch.labels.masked_fill(batch.labels == model.ids.seg, IGNORE_INDEX),
    )
    for some in (batch, text):
        sum(loss for name, loss in model.loss(some).items() if name.startswith("loss")).backward()
        lacking = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
        assert not lacking
        model.zero_grad()


@torch.inference_mode()
def test_the_state_of_each_seg_becomes_a_mask_of_its_image(model, prompts, monkeypatch):
    """Answers of a scripted LLM, in a batch that pads them on both sides, against each alone without padding."""
    batch, samples = prompts["batch"], prompts["data_samples"]
    ids, end = model.ids, model.tokenizer.convert_tokens_to_ids("<|im_end|>")
    word = model.tokenizer("red", add_special_tokens=False)["input_ids"][:1]
    phrase = [ids.phrase_start, *word, ids.phrase_end, ids.seg]
    answers = [[*phrase, end], [*word, end], [*phrase, *word, *phrase, end], [*phrase, end, *phrase], [ids.seg]]
    longest = max(map(len, answers))
    asked = {}

    def generate(input_ids, attention_mask, **settings):
        asked.update(ids=input_ids, mask=attention_mask, **settings)
        return torch.cat([input_ids, torch.tensor([own + [end] * (longest - len(own)) for own in answers])], 1)

    monkeypatch.setattr(model.llm.model, "generate", generate)
    predictions = model(**prompts, mode="predict")
    assert asked["mask"][:, -1].all() and asked["eos_token_id"] == end, "padded on the left"
    assert [len(prediction.masks) for prediction in predictions] == [1, 0, 2, 1, 1]
    assert [prediction.phrases for prediction in predictions] == [("red",), (), ("red", "red"), ("red",), ()]
    full = text_of(model, batch)
    for index, (answer, prediction, sample) in enumerate(zip(answers, predictions, samples)):
        whole = torch.cat([full[index][batch.attention_mask[index]], torch.tensor(answer)])[None]
        assert torch.equal(asked["ids"][index][asked["mask"][index].bool()], whole[0, : -len(answer)])
        image = batch.block_image[index : index + 1]
        hidden = model.read(
            whole, torch.ones_like(whole, dtype=torch.bool), batch.tiles[image], torch.tensor([0])
        ).hidden
        written = torch.tensor(answer)
        states = hidden[0, -len(answer) :][(written == ids.seg) & ((written == end).cumsum(0) == 0)]
        encoder = model.pixel_encoder
        memory = encoder.encode(sample.pixel_images).decoder_memory
        logits = model.mask_decoder(states, torch.zeros(len(states), dtype=torch.long), memory, encoder.segmenter)[-1]
        expected = sample.letterbox.invert_logits(logits).numpy() > 0
        assert prediction.masks.shape == expected.shape and prediction.masks.shape[1:] == sample.image.shape[:2]
        assert (prediction.masks == expected).mean() > 0.999 if len(expected) else True


@torch.inference_mode()
def test_a_batch_is_answered_as_each_question_alone(model, prompts, config):
    together = model(**prompts, mode="predict")
    alone = [model(**grounding_collate([sample]), mode="predict")[0] for sample in prompts["data_samples"]]
    assert [one.text for one in alone] == [one.text for one in together] and any(one.text for one in alone)


def test_a_square_of_broken_tokens_is_an_error(config):
    with pytest.raises(ValueError, match=r"tile_size must be a multiple of 24, the side of a token in pixels, got 100"):
        MODELS.build(dict(config.model, tile_size=100))


def test_the_full_size_takes_mmdets_published_weights_as_they_are_converted():
    config, lira = Config.fromfile(config_path("qwen2_vl_2b_swin_t")), Config.fromfile(config_path("lira_2b_swin_t"))
    assert config.model.pixel_encoder == lira.model.pixel_encoder
    assert config.model.init_from == lira.model.init_from[:1]


def test_mmdets_published_layout_becomes_the_pixel_encoder(config, tmp_path):
    """A twin of Swin-T with few channels, in a file as mmdet publishes it."""
    twin, ours = mask2former_twin("swin_t", tmp_path / "mask2former.pth")
    path = convert_mmdet(ours, tmp_path / "mask2former.pth", tmp_path / "out")
    settings = dict(
        config.model, pixel_encoder=ours, extra_losses=[], init_from=[{"path": path, "prefix": "pixel_encoder."}]
    )
    settings["mask_decoder"] = dict(settings["mask_decoder"], query_channels=16, decoder="own")
    model = MODELS.build(settings)
    assert not model.pixel_encoder.segmenter.query_feat.weight.requires_grad
    theirs = twin.panoptic_head.transformer_decoder.state_dict()
    own = model.mask_decoder.decoder.transformer_decoder.state_dict()
    trained = dict(model.mask_decoder.named_parameters())
    assert theirs and all(torch.equal(own[name], value) for name, value in theirs.items())
    assert all(weight.requires_grad for weight in trained.values())


def test_the_full_size_learns_and_answers_on_twins(config, tmp_path, monkeypatch):
    """Its own settings (LoRA, tied embeddings, published tokenizer) over small files in the published layouts."""
    monkeypatch.setenv("LIRA_QWEN2_VL_2B", str(tmp_path / "qwen"))
    write_qwen2_vl(tmp_path / "qwen")
    _, ours = mask2former_twin("swin_t", tmp_path / "mask2former.pth")
    path = convert_mmdet(ours, tmp_path / "mask2former.pth", tmp_path / "out")
    settings = Config.fromfile(config_path("qwen2_vl_2b_swin_t")).model
    settings.update(pixel_encoder=ours, tile_size=56)
    settings.pixel_encoder.image_size = 64
    settings.init_from[0].update(path=path)
    settings.mask_decoder.update(hidden_size=32, query_channels=16, num_points=64)
    settings.generation.update(max_new_tokens=3)
    model = MODELS.build(settings)
    spec = model.input_spec
    assert spec.tokens_per_tile == 2 * 2 + 2 and spec.image_size == 64
    batch = grounding_collate(samples(config, model, "train_dataloader", 2))
    losses = model.train()(**batch, mode="loss")
    sum(losses.values()).backward()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"llm", "mask_decoder"}
    assert all("lora_" in name or "embed_tokens" in name for name in trained if name.startswith("llm")), (
        "tied to the head"
    )
    assert not [name for name, weight in model.named_parameters() if name in trained and weight.grad is None]
    prompts = grounding_collate(samples(config, model, "test_dataloader", 3))
    assert len(model.eval()(**prompts, mode="predict")) == 3


@pytest.mark.slow
def test_the_copy_trains_and_is_evaluated(folder, monkeypatch):
    monkeypatch.setenv("LIRA_TINY_ROOT", "tiny")
    options = ["model.init_from=[]", "model.generation.max_new_tokens=4", "train_dataloader.batch_size=4"]
    losses, scores = train_and_test(folder, "configs/qwen_tiny.py", "qwen", options, iters=12)
    assert losses[-1]["loss_llm"] < losses[0]["loss_llm"]
    assert 0 <= scores["refcoco/val/refined/cIoU"] <= 1
