"""LISA with ILVC, from a copy of its folder: SAM decodes each state alone, views come from its masks, the tiny recipe learns."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from support.project_runs import copy_project, tiny_config, train_and_test

from lira_plugin.datasets import fit_to_model, grounding_collate
from lira_plugin.models.answering import LIRAGrounder
from lira_plugin.registry import DATASETS, MODELS
from lira_plugin.structures import TokenKind


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the project, with scenes beside it."""
    return copy_project("lisa_ilvc", tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def config(folder):
    return tiny_config(folder, "lisa_tiny", init_from=[])


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    return MODELS.build(config.model).eval()


@pytest.fixture(scope="module")
def prompts(config, model):
    dataset = fit_to_model(DATASETS.build(config.test_dataloader.dataset), model.input_spec, "test_dataloader.dataset")
    return grounding_collate([dataset[index] for index in range(0, len(dataset), 2)][:5])


def test_an_image_is_the_tokens_of_one_tile(prompts, model):
    batch = prompts["batch"]
    kinds = {kind: int((batch.kinds == kind).sum()) for kind in TokenKind}
    assert kinds[TokenKind.SEMANTIC] == model.semantic_encoder.tokens_per_tile * len(batch.input_ids)
    assert kinds[TokenKind.PIXEL] == kinds[TokenKind.OBJECT] == 0


@torch.no_grad()
def test_each_state_is_a_prompt_of_the_whole_sam(model):
    decoder, sam = model.sam, model.sam.sam
    images = torch.randint(0, 256, (2, 3, decoder.image_size, decoder.image_size), dtype=torch.uint8)
    states, state_image = torch.randn(3, model.llm.hidden_size), torch.tensor([1, 0, 1])
    together = decoder(states, state_image, decoder.encode(images))
    assert together.shape == (3, decoder.image_size // 2, decoder.image_size // 2)
    _, no_mask = sam.prompt_encoder(None, None, None, None)
    for state, image, logits in zip(states, state_image, together):
        values = (images[image].float() / 255 - decoder.mean) / decoder.std
        prompt = (decoder.state_proj(state)[None, None, None], no_mask)
        with patch.object(sam.prompt_encoder, "forward", lambda prompt=prompt, **_: prompt):
            alone = sam(pixel_values=values[None], multimask_output=False).pred_masks[0, 0, 0]
        torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)


def test_without_a_state_sam_runs_to_no_effect(model):
    decoder = model.sam
    images = torch.zeros(1, 3, decoder.image_size, decoder.image_size, dtype=torch.uint8)
    logits = decoder(torch.zeros(0, model.llm.hidden_size), torch.zeros(0, dtype=torch.long), decoder.encode(images))
    logits.sum().backward()
    trained = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
    assert len(logits) == 0 and all(parameter.grad is not None and not parameter.grad.any() for parameter in trained)
    decoder.zero_grad()


@torch.inference_mode()
def test_views_are_cut_from_the_masks_of_sam(model, prompts, monkeypatch):
    cut = []
    encode = LIRAGrounder.encode_views
    monkeypatch.setattr(
        LIRAGrounder, "encode_views", lambda self, images, masks: cut.extend(masks) or encode(self, images, masks)
    )
    forced = (model.ids.seg, model.ids.image_id)
    requests = [replace(request, forced_ids=forced) for request in model.requests(**prompts)]
    generate = model.generator(max_new_tokens=4)
    texts = generate(requests)
    assert len(cut) == len(texts) == len(prompts["data_samples"]) > 3
    for text, mask, request, sample in zip(texts, cut, requests, prompts["data_samples"]):
        sequence = torch.cat([request.embeddings, model.llm.embed(torch.tensor(forced[:1]))])[None]
        state = model.llm(sequence, torch.ones(sequence.shape[:2], dtype=torch.bool)).hidden[:, -1]
        logits = model.sam(state, torch.zeros(1, dtype=torch.long), request.features[None])
        expected = sample.letterbox.invert_logits(logits)[0].numpy() > 0
        assert (mask == expected).mean() > 0.999 and mask.shape == sample.image.shape[:2]
        assert (text.spans[0].coarse_mask == mask).all()
    alone = [generate([request])[0] for request in requests]
    assert [text.raw_text for text in alone] == [text.raw_text for text in texts]


@pytest.mark.slow
def test_the_copy_trains_and_is_evaluated(folder, monkeypatch):
    monkeypatch.setenv("LIRA_TINY_ROOT", "tiny")
    losses, scores = train_and_test(folder, "configs/lisa_tiny.py", "lisa", ["model.init_from=[]"], iters=16)
    for name in ("loss_llm", "loss_mask"):
        assert losses[-1][name] < losses[0][name], name
    assert 0 <= scores["refcoco/val/refined/cIoU"] <= 1
