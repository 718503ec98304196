"""New tokens get rows that are the mean of the old ones, and nothing else changes."""

import pytest
import torch
from mmengine.config import Config
from support.tiny_model import H, lira_config, tiny_llama, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from lira_plugin.checkpoint.files import load_into, read_state_dict
from lira_plugin.convert import grow_checkpoint, grow_llm_folder
from lira_plugin.models import LIRA, InterleavedLLM

WORDS = len(tiny_tokenizer())


def write_folder(folder, rows=WORDS, dtype=torch.float32, **settings):
    torch.manual_seed(0)
    model = tiny_llama(rows, **settings).to(dtype)
    with torch.no_grad():
        model.lm_head.weight += 0.5  # a mean that is not zero
    model.save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    return model


def read_folder(folder):
    return AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto"), AutoTokenizer.from_pretrained(folder)


def mean_by_hand(weight, rows):
    total = torch.zeros(weight.shape[1], dtype=torch.float64)
    for row in weight[:rows]:
        total += row.double()
    return (total / rows).to(weight.dtype)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_rows_are_the_mean_and_all_else_stays(tmp_path, tied, dtype):
    old = write_folder(tmp_path / "in", dtype=dtype, tie_word_embeddings=tied)
    growth = grow_llm_folder(tmp_path / "in", ["<seg>", "<|im_end|>", "<image_id>", "<seg>"], tmp_path / "out")
    model, tokenizer = read_folder(tmp_path / "out")
    before = tiny_tokenizer()
    assert growth.added == {"<seg>": WORDS, "<image_id>": WORDS + 1}
    assert growth.present == {"<|im_end|>": before.convert_tokens_to_ids("<|im_end|>")}
    assert (growth.rows_before, growth.rows, growth.tied) == (WORDS, WORDS + 2, tied)
    assert tokenizer("x<seg>y", add_special_tokens=False)["input_ids"][1] == WORDS
    assert all(tokenizer.convert_tokens_to_ids(token) == number for token, number in before.get_vocab().items())
    weights = model.state_dict()
    assert model.config.vocab_size == WORDS + 2 and model.dtype == dtype
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    for name, value in old.state_dict().items():
        assert torch.equal(weights[name][: len(value)], value), name
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            torch.testing.assert_close(weights[name][WORDS:], mean_by_hand(value, WORDS).expand(2, H))
    assert "added <seg> as" in str(growth) and "left <|im_end|> as" in str(growth)


def test_spare_rows_of_a_padded_embedding_are_taken_first(tmp_path):
    old = write_folder(tmp_path / "in", WORDS + 3)
    growth = grow_llm_folder(tmp_path / "in", ["<seg>", "<image_id>"], tmp_path / "out")
    head, before = read_folder(tmp_path / "out")[0].lm_head.weight, old.lm_head.weight
    assert growth.rows == growth.rows_before == len(head) == WORDS + 3
    torch.testing.assert_close(head[WORDS : WORDS + 2], mean_by_hand(before, WORDS).expand(2, H))
    assert torch.equal(head[:WORDS], before[:WORDS]) and torch.equal(head[WORDS + 2 :], before[WORDS + 2 :])


def test_tokens_that_are_there_change_nothing(tmp_path):
    old = write_folder(tmp_path / "in", WORDS + 3)
    growth = grow_llm_folder(tmp_path / "in", ["<|im_start|>"], tmp_path / "out")
    assert not growth.added
    weights = read_folder(tmp_path / "out")[0].state_dict()
    assert all(torch.equal(weights[name], value) for name, value in old.state_dict().items())


def test_what_is_no_folder_of_an_llm(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        grow_llm_folder(tmp_path / "none", ["<seg>"], tmp_path / "out")
    write_folder(tmp_path / "in")
    with pytest.raises(ValueError, match="in holds weights already"):
        grow_llm_folder(tmp_path / "in", ["<seg>"], tmp_path / "in")


LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "lm_head"]}


def lira(tokenizer, lora, rows=260):
    llm = {"type": InterleavedLLM, "llm": tiny_llama(rows), **({"lora": lora} if lora else {})}
    return LIRA(**lira_config() | {"llm": llm, "tokenizer": tokenizer})


@pytest.mark.parametrize("lora", [None, {**LORA, "train_embeddings": True}], ids=["whole", "lora"])
def test_a_grown_checkpoint_fits_the_recipe_with_the_grown_tokenizer(tmp_path, lora):
    torch.manual_seed(0)
    model = lira(tiny_tokenizer(), lora)
    if lora:
        torch.nn.init.normal_(model.llm.causal_lm.lm_head.lora_B["default"].weight)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "iter_2.pth")
    recipe = Config({"model": {"tokenizer": {"type": tiny_tokenizer}}})
    arguments = (["<new>", "<seg>"], tmp_path / "grown.pth", tmp_path / "tokenizer")
    growth = grow_checkpoint(recipe, tmp_path / "iter_2.pth", *arguments)
    number = len(model.tokenizer)
    assert growth.added == {"<new>": number} and growth.present == {"<seg>": model.ids.seg}
    assert (growth.rows_before, growth.rows, growth.tied) == (number, number + 1, False)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert tokenizer.convert_tokens_to_ids("<new>") == number
    again = lira(tokenizer, lora)
    assert again.ids == model.ids
    load_into(again, tmp_path / "grown.pth", may_lack=["llm.model.base_model"])
    hidden = torch.randn(3, H)
    with torch.no_grad():
        old, new = model.llm.eval().logits(hidden), again.llm.eval().logits(hidden)
    assert torch.equal(new[:, :number], old)
    torch.testing.assert_close(new[:, number], old.mean(1))
    before, after = read_state_dict(tmp_path / "iter_2.pth"), read_state_dict(tmp_path / "grown.pth")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(after[name][:number] if after[name].shape != value.shape else after[name], value), name


def test_a_checkpoint_without_embeddings(tmp_path):
    torch.save({"llm.model.base_model.model.q_proj.lora_A.default.weight": torch.ones(2, 2)}, tmp_path / "iter_2.pth")
    with pytest.raises(ValueError, match=r"iter_2\.pth holds no embedding of an LLM"):
        grow_checkpoint(Config(), tmp_path / "iter_2.pth", ["<new>"], tmp_path / "grown.pth", tmp_path / "tokenizer")
