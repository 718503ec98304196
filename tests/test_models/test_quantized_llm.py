"""The LLM in 8 and 4 bits: answers and masks stay, memory shrinks, and adapters are trained around it."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support.process_state import process_state_restored
from support.tiny_model import lira_config, make_batch, refer_record, tiny_llama
from support.tiny_recipes import tiny_recipe

from lira_plugin.inference import LIRAInferencer
from lira_plugin.models import LIRA
from lira_plugin.models.nf4_linear import NF4Linear
from lira_plugin.models.quantized_llm import check_kind, linear_layers, quantize_llm
from lira_plugin.settings import WrongSetting

pytestmark = pytest.mark.slow

KINDS = [
    pytest.param(
        "int8", marks=pytest.mark.skipif(find_spec("torchao") is None, reason="the extra `quantize` is not installed")
    ),
    "nf4",
]
LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj", "up_proj"], "train_embeddings": True}


NF4 = torch.tensor(
    [-1.0, -0.69619280, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0,
     0.07958030, 0.16093020, 0.24611230, 0.33791524, 0.44070983, 0.56261700, 0.72295684, 1.0]
)  # fmt: skip
"""The sixteen values (arXiv 2305.14314, appendix E)."""


@torch.no_grad()
def test_4_bits_are_the_nearest_values_of_each_block():
    torch.manual_seed(0)
    linear = torch.nn.Linear(128, 40)
    blocks = linear.weight.reshape(-1, 64)
    scales = blocks.abs().amax(1, keepdim=True)
    nearest = ((blocks / scales)[..., None] - NF4).abs().argmin(-1)
    rounded = (NF4[nearest] * scales).view_as(linear.weight)
    x = torch.randn(3, 128)
    torch.testing.assert_close(NF4Linear(linear)(x), x @ rounded.T + linear.bias, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_hidden_states_are_near_and_all_else_is_as_it_was(kind):
    near = {"int8": 0.03, "nf4": 0.25}[kind]
    llm = tiny_llama(hidden_size=128).eval()
    ids = torch.randint(260, (2, 20), generator=torch.Generator().manual_seed(0))
    before, others = llm.base_model(ids).last_hidden_state, llm.get_input_embeddings().weight.clone()
    names = [name for name, _ in linear_layers(llm.base_model)]
    assert len(names) == 7 * len(llm.base_model.layers)
    quantize_llm(llm, kind)
    after = llm.base_model(ids).last_hidden_state
    assert not torch.equal(after, before)
    assert (after - before).norm() / before.norm() < near
    assert torch.equal(llm.get_input_embeddings().weight, others) and type(llm.lm_head.weight) is torch.nn.Parameter


@pytest.mark.parametrize("kind", KINDS)
def test_the_inferencer_quantizes_the_llm_alone(kind):
    with process_state_restored():
        image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        masks = []
        for settings in ({"dtype": "bfloat16"}, {"quantize": kind}):
            torch.manual_seed(0)
            lira = LIRAInferencer(tiny_recipe(), device="cpu", show_progress=False, **settings)
            assert next(lira.model.semantic_encoder.parameters()).dtype == torch.bfloat16
            answers = [lira(image, f"Please segment {name}.", force=True)[0] for name in ("the dog", "a cat", "it")]
            masks.append(np.stack([answer.spans[0].mask for answer in answers]))
        one, other = masks
        assert (one & other).sum() / (one | other).sum() > 0.9, "of random weights"


def test_what_cannot_be_had_is_said(monkeypatch):
    with pytest.raises(WrongSetting, match="quantize='int3' is unknown: give 'int8' or 'nf4'"):
        LIRAInferencer(tiny_recipe(), device="cpu", quantize="int3")
    monkeypatch.setattr("lira_plugin.models.quantized_llm.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs torchao: uv sync --extra quantize"):
        check_kind("int8")


def adapted(quantize):
    torch.manual_seed(0)
    config = lira_config()
    config["llm"] |= {"lora": LORA, "quantize": quantize}
    return LIRA(**config)


def test_adapters_are_trained_around_4_bits(tmp_path):
    """The state dict is that of the recipe without: trained weights alone, under the same names."""
    plain, small = adapted(None), adapted("nf4")
    layers = [module for module in small.modules() if isinstance(module, NF4Linear)]
    assert layers and all(layer.weight.dtype == torch.uint8 and not layer.weight.requires_grad for layer in layers)
    assert small.state_dict().keys() == plain.state_dict().keys()
    batch = make_batch([refer_record(tmp_path, "a", ["cat", "dog"])])
    optimizer = torch.optim.AdamW([p for p in small.parameters() if p.requires_grad], lr=1e-2)
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    packed = layers[0].weight.clone()
    losses = []
    for _ in range(3):
        torch.manual_seed(0)
        loss = sum(value for name, value in small(**batch, mode="loss").items() if name.startswith("loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    moved = {name for name, tensor in small.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any("lora_B" in name for name in moved) and any("embed_tokens" in name for name in moved)
    assert torch.equal(layers[0].weight, packed)
    plain.load_state_dict(small.state_dict())
    with pytest.raises(ValueError, match="cannot be merged"):
        small.llm.merge_lora()
    with pytest.raises(WrongSetting, match="cannot be trained"):
        adapted("int8")
