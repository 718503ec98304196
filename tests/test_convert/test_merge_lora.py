"""A LIRA with merged adapters computes what the one with adapters does, images included."""

import pytest
import torch
from mmengine.config import Config
from support.tiny_model import lira_config, make_batch, refer_record, text_record, tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from lira_plugin.checkpoint.files import load_into, read_state_dict
from lira_plugin.convert import merge_lora
from lira_plugin.models import LIRA, InterleavedLLM
from lira_plugin.structures import TokenKind

pytestmark = pytest.mark.slow

ADAPTED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
LORA = {"r": 3, "lora_alpha": 6, "lora_dropout": 0.1, "target_modules": ADAPTED, "train_embeddings": True}


def base_llm():
    torch.manual_seed(7)
    return tiny_llama()


def config(lora=None, **settings):
    """Arguments of LIRA that give the same frozen weights whenever they are used."""
    llm = {"type": InterleavedLLM, "llm": {"type": base_llm}, **({"lora": lora} if lora else {})}
    torch.manual_seed(1)
    return lira_config() | {"llm": llm, "frozen": ["pixel_encoder", "semantic_encoder"]} | settings


def build(lora=None):
    arguments = config(lora)
    torch.manual_seed(1)
    return LIRA(**arguments).eval()


def recipe(lora):
    return Config({"model": {"type": "lira_plugin.LIRA", **config(lora)}})


@pytest.fixture(params=[[], ["q_proj", "k_proj", "v_proj"]], ids=["own A", "shared A"])
def trained(request, tmp_path):
    """The arguments of LoRA, and a model with adapters that matter, saved as a training does."""
    lora = {**LORA, "shared_inputs": request.param}
    model = build(lora)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "iter_2.pth")
    return lora, model


@pytest.fixture
def merged(trained, tmp_path):
    torch.manual_seed(1)
    return merge_lora(recipe(trained[0]), tmp_path / "iter_2.pth", tmp_path / "merged.pth", tmp_path / "llm")


def logits(model, data):
    with torch.no_grad():
        return model.llm.logits(model(**data, mode="tensor").hidden)


def test_merged_logits_are_the_adapters_logits(trained, merged, tmp_path):
    _, model = trained
    records = [refer_record(tmp_path, "a", ["cup", "plate"]), refer_record(tmp_path, "b", ["dog"], 40, 70)]
    data = make_batch([*records, text_record("c")], max_tiles=2)
    assert {TokenKind.SEMANTIC, TokenKind.PIXEL, TokenKind.OBJECT, TokenKind.VIEW} <= set(
        data["batch"].kinds.unique().tolist()
    )
    expected = logits(model, data)
    with model.llm.model.disable_adapter():
        assert (logits(model, data) - expected).abs().max() > 0.1, "the adapters matter"
    plain = build()
    load_into(plain, merged)
    rows = data["batch"].attention_mask
    torch.testing.assert_close(logits(plain, data)[rows], expected[rows], atol=2e-5, rtol=1e-5)


def test_the_checkpoint_has_the_whole_llm_and_what_is_trained_beside_it(trained, merged):
    state = read_state_dict(merged)
    assert set(state) == set(build().state_dict())
    assert not [name for name in state if "lora" in name or "base_layer" in name or name.startswith("pixel_encoder")]


def test_the_folder_is_a_language_model_with_its_tokenizer(trained, merged, tmp_path):
    _, model = trained
    llm = AutoModelForCausalLM.from_pretrained(tmp_path / "llm").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "llm")
    text = "a <p>red cup</p><seg><image_id>"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert ids.tolist() == model.tokenizer(text, return_tensors="pt")["input_ids"].tolist()
    assert model.ids.seg in ids and llm.config.use_cache
    with torch.no_grad():
        expected = model.llm.logits(model.llm(model.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool)).hidden)
        torch.testing.assert_close(llm(ids).logits, expected, atol=2e-5, rtol=1e-5)


def test_a_folder_of_another_dtype_leaves_the_checkpoint_as_it_is(trained, tmp_path):
    torch.manual_seed(1)
    arguments = (recipe(trained[0]), tmp_path / "iter_2.pth", tmp_path / "merged.safetensors")
    state = read_state_dict(merge_lora(*arguments, tmp_path / "llm", "bfloat16"))
    assert all(value.dtype == torch.float32 for name, value in state.items() if name.startswith("llm."))
    llm = AutoModelForCausalLM.from_pretrained(tmp_path / "llm", torch_dtype="auto")
    assert llm.dtype == torch.bfloat16
    assert torch.equal(llm.lm_head.weight, state["llm.model.lm_head.weight"].bfloat16())
    arguments[2].unlink()
    with pytest.raises(ValueError, match="llm holds weights already"):
        merge_lora(*arguments, tmp_path / "llm")
    assert not arguments[2].exists(), "said before the work begins"


def test_a_recipe_without_adapters(tmp_path):
    with pytest.raises(ValueError, match=r"no model\.llm\.lora"):
        merge_lora(recipe(None), tmp_path / "iter_2.pth", tmp_path / "merged.pth")


def test_a_head_that_is_the_embedding_is_not_changed_by_the_way():
    llm = InterleavedLLM(tiny_llama(tie_word_embeddings=True), lora=LORA)
    with pytest.raises(ValueError, match="tie_word_embeddings=False"):
        llm.merge_lora()
    with pytest.raises(ValueError, match="no LoRA adapters"):
        InterleavedLLM(tiny_llama()).merge_lora()


def test_tied_embeddings_without_an_adapter_stay_tied():
    llm = InterleavedLLM(tiny_llama(tie_word_embeddings=True), lora={**LORA, "target_modules": ["q_proj"]})
    llm.merge_lora()
    assert llm.causal_lm.get_output_embeddings().weight is llm.causal_lm.get_input_embeddings().weight


def test_adapters_with_nan_are_not_merged():
    llm = InterleavedLLM(tiny_llama(), lora=LORA)
    with torch.no_grad():
        llm.causal_lm.get_decoder().layers[1].self_attn.k_proj.lora_B["default"].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        llm.merge_lora()
