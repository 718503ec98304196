"""DeepStack: further features of a position, added behind the LLM's first layers."""

from types import SimpleNamespace

import pytest
import torch
from support.newer_transformers import needs_newer_transformers
from transformers import GPT2Config, GPT2LMHeadModel

from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.models import InterleavedLLM
from lira_plugin.models.deep_stack import add_deep_stack, check_levels, widen
from lira_plugin.models.generation.kv_cache import SlotKVCache
from lira_plugin.models.interleaved_llm import scatter_features
from lira_plugin.structures import TokenKind

H, LEVELS = 16, 2


def make_llm(levels=LEVELS, **settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": H, "intermediate_size": 24, "num_hidden_layers": 4, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "deep_stack_levels": levels}
    config = from_transformers("Qwen3Config")(**sizes, **heads)
    return InterleavedLLM(from_transformers("Qwen3ForCausalLM")(config), **settings).eval()


def stated(llm, embeddings):
    """The stack layer by layer, with what is added behind each of the first ones."""
    stack, (hidden, *further) = llm.causal_lm.model, embeddings.split(H, -1)
    positions = torch.arange(hidden.shape[1])[None]
    mask = torch.full((1, 1, positions.shape[1], positions.shape[1]), -torch.inf).triu(1)
    waves = stack.rotary_emb(hidden, positions)
    for index, layer in enumerate(stack.layers):
        hidden = layer(hidden, attention_mask=mask, position_ids=positions, position_embeddings=waves)
        hidden = hidden + further[index] if index < len(further) else hidden
    return stack.norm(hidden)


def test_without_levels_the_layers_may_have_any_name():
    """As those of Qwen2-VL have in transformers 4.57."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=H, n_layer=1, n_head=2))
    assert not hasattr(model.base_model, "layers") and add_deep_stack(model) == 0


@needs_newer_transformers
@torch.no_grad()
def test_what_is_further_is_added_behind_the_first_layers():
    llm = make_llm()
    embeddings = torch.randn(1, 7, (1 + LEVELS) * H)
    hidden = llm(embeddings, torch.ones(1, 7, dtype=torch.bool)).hidden
    torch.testing.assert_close(hidden, stated(llm, embeddings), atol=1e-5, rtol=0)
    assert hidden.shape[-1] == llm.hidden_size == H and llm.input_size == 3 * H
    ids = torch.randint(40, (1, 7))
    words = llm.logits(llm(llm.embed(ids), torch.ones_like(ids, dtype=torch.bool)).hidden)
    torch.testing.assert_close(words, llm.causal_lm(ids).logits, atol=1e-6, rtol=0)


@needs_newer_transformers
@torch.no_grad()
def test_a_cache_gives_what_one_pass_gives():
    llm, cache = make_llm(), SlotKVCache()
    embeddings, run = torch.randn(1, 9, llm.input_size), llm.cached_pass()
    whole, parts = llm(embeddings, torch.ones(1, 9, dtype=torch.bool)).hidden, []
    cache.begin_slot(0, None)
    for part in embeddings.split([4, 1, 3, 1], 1):
        cache.begin_pass([0], part.shape[1], part.device)
        parts.append(run(part, cache))
        cache.lengths[0] += part.shape[1]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)


@needs_newer_transformers
@pytest.mark.parametrize("lora", [None, {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"]}])
def test_recomputed_layers_have_the_same_gradients(lora):
    embeddings, gradients = torch.randn(2, 6, (1 + LEVELS) * H), []
    for checkpointing in (False, True):
        llm = make_llm(gradient_checkpointing=checkpointing, lora=lora).train()
        given = embeddings.clone().requires_grad_()
        llm(given, torch.ones(2, 6, dtype=torch.bool)).hidden.square().mean().backward()
        gradients.append(given.grad)
        assert all(given.grad[..., level * H : (level + 1) * H].abs().sum() > 0 for level in range(1 + LEVELS))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


@needs_newer_transformers
def test_state_dict_and_settings_are_those_of_the_plain_llm(tmp_path):
    llm, plain = make_llm(), make_llm(levels=0)
    assert llm.causal_lm.state_dict().keys() == plain.causal_lm.state_dict().keys()
    assert plain.input_size == H
    llm.causal_lm.save_pretrained(tmp_path)
    again = InterleavedLLM(from_transformers("AutoModelForCausalLM").from_pretrained(tmp_path))
    assert again.deep_stack_levels == LEVELS


def test_features_of_an_encoder_that_the_llm_would_lose_are_refused():
    wide, plain = SimpleNamespace(deep_stack_levels=3), SimpleNamespace()
    for encoder, llm in ((plain, wide), (wide, wide), (plain, plain)):
        check_levels(encoder, llm)
    with pytest.raises(ValueError, match="features for 3 layers of the LLM, but the LLM reads those of 0"):
        check_levels(wide, plain)


def test_features_that_say_nothing_more_are_zeros_there():
    features = torch.randn(2, H)
    assert torch.equal(widen(features, 2 * H), torch.cat([features, torch.zeros(2, H)], -1))
    assert widen(features, H) is features
    kinds = torch.tensor([[TokenKind.TEXT, TokenKind.OBJECT, TokenKind.OBJECT, TokenKind.VIEW]])
    views = torch.randn(1, 2 * H)
    full = scatter_features(torch.ones(1, 4, 2 * H), kinds, {TokenKind.OBJECT: features, TokenKind.VIEW: views}, ["a"])
    assert torch.equal(full[0, 1:3], widen(features, 2 * H)) and torch.equal(full[0, 3], views[0])
