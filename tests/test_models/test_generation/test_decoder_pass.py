"""Passes over a cache against the decoder stack of transformers, which they stand for."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from support.newer_transformers import HAS_NEWER_TRANSFORMERS
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, MistralConfig, Qwen2Config

from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.models import InterleavedLLM
from lira_plugin.models.generation import SlotKVCache
from lira_plugin.models.generation.decoder_pass import HuggingFacePass, LlamaPass

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": 64,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}  # as InternLM2: other frequencies beyond max_position_embeddings
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "groups": LlamaConfig(**SHAPE, num_key_value_heads=2, rope_scaling=DYNAMIC, rms_norm_eps=1e-3),
    "one key-value head": LlamaConfig(**SHAPE, num_key_value_heads=1, attention_bias=True, hidden_act="gelu"),
    "qwen2": Qwen2Config(**SHAPE, num_key_value_heads=3),
    "mistral": MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=None, head_dim=16),
}
if HAS_NEWER_TRANSFORMERS:
    make_config = from_transformers("Qwen3Config")
    CONFIGS["qwen3"] = make_config(**SHAPE, num_key_value_heads=2, head_dim=16)
    CONFIGS["deep stack"] = make_config(**SHAPE, num_key_value_heads=3, head_dim=8, deep_stack_levels=2)


@pytest.fixture(params=list(CONFIGS))
def llm(request):
    return make_llm(CONFIGS[request.param])


def make_llm(config):
    torch.manual_seed(0)
    return with_random_scales(InterleavedLLM(AutoModelForCausalLM.from_config(deepcopy(config))).eval())


def with_random_scales(model):
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
    return model


def ours(llm):
    return llm.cached_pass()


def hugging_face(llm):
    return HuggingFacePass(llm.causal_lm.base_model)


STEPS = (([0], 5), ([1], 1), ([2], 30), ([0, 2], 4), ([0, 1, 2], 1), ([1, 2], 40), ([0, 1], 1))
"""Sequences of a pass, and new positions of each; two go beyond what dynamic frequencies were made for."""


@torch.no_grad()
def run(made_of, llm, dtype=torch.float32):
    """States of each pass."""
    run_pass, cache, outputs = made_of(llm), SlotKVCache(), []
    cache.lengths = dict.fromkeys(range(3), 0)
    torch.manual_seed(1)
    for slots, new in STEPS:
        cache.begin_pass(slots, new, torch.device("cpu"))
        outputs.append(run_pass(torch.randn(len(slots), new, llm.input_size).to(dtype), cache))
        for slot in slots:
            cache.lengths[slot] += new
    return outputs


def test_states_are_those_of_hugging_face(llm):
    assert isinstance(llm.cached_pass(), LlamaPass)
    found, expected = run(ours, llm), run(hugging_face, llm)
    assert all(states.std() > 0.1 for states in found)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_heads_are_normed_before_they_are_turned():
    """As of Qwen3, stated with Llama's stack: its queries and keys are what a norm of each head makes of them."""
    ours_llm, stated = make_llm(CONFIGS["groups"]), make_llm(CONFIGS["groups"])
    for layer in ours_llm.causal_lm.base_model.layers:
        kind = type(layer.input_layernorm)
        layer.self_attn.q_norm, layer.self_attn.k_norm = kind(8, eps=1e-3), kind(8, eps=1e-3)
    with_random_scales(ours_llm)
    stated.load_state_dict(ours_llm.state_dict(), strict=False)
    for own, layer in zip(ours_llm.causal_lm.base_model.layers, stated.causal_lm.base_model.layers, strict=True):
        for name in ("q", "k"):
            scale = getattr(own.self_attn, f"{name}_norm").weight
            getattr(layer.self_attn, f"{name}_proj").register_forward_hook(partial(normed, scale))
    assert isinstance(ours_llm.cached_pass(), LlamaPass)
    torch.testing.assert_close(run(ours, ours_llm), run(hugging_face, stated), atol=1e-5, rtol=1e-5)
    ours_llm.causal_lm.base_model.layers[1].self_attn.k_norm.register_forward_pre_hook(lambda *_: None)
    assert isinstance(ours_llm.cached_pass(), HuggingFacePass), "what is looked at is run as it is"


def normed(scale, module, inputs, output):
    heads = output.unflatten(-1, (-1, len(scale)))
    return (heads / (heads.square().mean(-1, keepdim=True) + 1e-3).sqrt() * scale).flatten(-2)


@pytest.mark.parametrize("settings", [{"sliding_window": 8}, {"layer_types": ["full_attention", "chunked_attention"]}])
def test_layers_that_do_not_see_all_are_not_taken(settings):
    llm = make_llm(CONFIGS["mistral"])
    llm.causal_lm.config.update(settings)
    assert not LlamaPass.fits(llm.causal_lm.base_model)
    with pytest.raises(ValueError, match="do not see all positions before their own"):
        InterleavedLLM(llm.causal_lm)


def test_windows_that_no_layer_has_are_no_reason():
    settings = {"use_sliding_window": True, "sliding_window": 8, "num_key_value_heads": 3}
    llm = make_llm(Qwen2Config(**SHAPE, **settings, max_window_layers=3))
    torch.testing.assert_close(run(ours, llm), run(hugging_face, llm), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="do not see all positions before their own"):
        make_llm(Qwen2Config(**SHAPE, **settings, max_window_layers=2))


def test_states_in_16_bits_are_as_exact_as_those_of_hugging_face(llm):
    exact = run(hugging_face, llm)
    llm.to(torch.bfloat16)
    found, expected = run(ours, llm, torch.bfloat16), run(hugging_face, llm, torch.bfloat16)
    for states, others, right in zip(found, expected, exact, strict=True):
        assert states.dtype == torch.bfloat16
        assert (states - right).abs().mean() < 1.2 * (others - right).abs().mean() + 1e-3


def test_states_under_autocast_are_those_of_hugging_face(llm):
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = run(ours, llm), run(hugging_face, llm)
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.1)  # dtypes too


def test_adapters_take_part(llm):
    before = run(ours, llm)
    llm.add_lora({"r": 4, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]})
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert isinstance(llm.cached_pass(), LlamaPass)
    found, expected = run(ours, llm), run(hugging_face, llm)
    assert not torch.allclose(found[0], before[0], atol=1e-2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("place", ["", "norm", "layers.1", "layers.2.self_attn", "layers.0.post_attention_layernorm"])
def test_a_decoder_with_hooks_runs_as_it_is(place):
    llm = InterleavedLLM(AutoModelForCausalLM.from_config(CONFIGS["llama"])).eval()
    decoder, calls = llm.causal_lm.base_model, []
    decoder.get_submodule(place).register_forward_pre_hook(lambda module, args: calls.append(module))
    run(ours, llm)
    assert len(calls) == len(STEPS)


def test_a_module_whose_forward_was_replaced_runs_as_it_is(monkeypatch):
    llm = InterleavedLLM(AutoModelForCausalLM.from_config(CONFIGS["llama"])).eval()
    norm = llm.causal_lm.base_model.layers[0].input_layernorm
    monkeypatch.setattr(norm, "forward", lambda x: torch.zeros_like(x))
    found, expected = run(ours, llm), run(hugging_face, llm)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_a_decoder_with_wrapped_layers_runs_as_it_is():
    llm = InterleavedLLM(AutoModelForCausalLM.from_config(CONFIGS["llama"])).eval()
    expected = run(ours, llm)
    layers = llm.causal_lm.base_model.layers
    layers[1] = checkpoint_wrapper(layers[1])  # as fairscale and FSDP wrap, it has the attributes of what is inside
    assert layers[1].self_attn.layer_idx == 1 and isinstance(llm.cached_pass(), HuggingFacePass)
    torch.testing.assert_close(run(ours, llm), expected, atol=1e-5, rtol=1e-5)


def test_flash_attention_is_for_training_and_generation_does_without():
    llm = InterleavedLLM(AutoModelForCausalLM.from_config(CONFIGS["groups"])).eval()
    expected = run(hugging_face, llm)
    llm.causal_lm.config._attn_implementation = "flash_attention_2"
    found = run(ours, llm)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_other_decoders_run_as_they_are():
    llm = InterleavedLLM(AutoModelForCausalLM.from_config(GPTNeoXConfig(**SHAPE))).eval()
    assert isinstance(llm.cached_pass(), HuggingFacePass)
    found, expected = run(ours, llm), run(hugging_face, llm)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
