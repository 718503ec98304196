"""A real LIRA that likes special tokens, and prompts of all kinds for it."""

import pytest
import torch
from support.scripted_llm import LIMIT
from support.tiny_model import caption_record, refer_record, text_record, tiny_lira


@pytest.fixture
def model():
    """A LIRA that writes regions: a grammar says which words are likely behind a word, random weights choose among them."""
    lira = tiny_lira(seed=11, generation={"max_new_tokens": LIMIT}, llm={"initializer_range": 0.4}).eval()
    space, a, c, s = lira.tokenizer(" acs", add_special_tokens=False)["input_ids"]
    end = lira.tokenizer.convert_tokens_to_ids("<|im_end|>")
    seg, view, start, stop = lira.ids
    likely = {
        seg: [view, space],
        view: [start],
        start: [a, c, s],
        stop: [seg],
        space: [seg, start, a, end],
        a: [c, s],
        c: [a, s, stop],
        s: [space, stop],
        end: [],
    }
    write_by(lira.llm, likely, first=[seg, start])
    return lira


@torch.no_grad()
def write_by(llm, likely, first):
    """Let an LLM write the words of ``likely`` alone, and behind each those that it names; ``first`` behind any other.

    The first numbers of a state say which word stands there. No layer reads or writes them, so they reach the head as they are,
    whatever the libraries draw for the other weights; all else of a state is the random LLM's, and so is the choice.
    """
    words, embedding = list(likely), llm.causal_lm.get_input_embeddings().weight
    marks = len(words) + 1
    embedding[:, :marks] = torch.eye(marks)[0]
    embedding[words, :marks] = torch.eye(marks)[1:]
    for layer in llm.causal_lm.base_model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for reader in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
            reader.weight[:, :marks] = 0
        for writer in (attention.o_proj, mlp.down_proj):
            writer.weight[:marks] = 0
    head = llm.causal_lm.get_output_embeddings()
    head.weight.normal_(std=0.3)[:, :marks] = 0
    bias = torch.full((marks, len(head.weight)), -1e9)
    bias[:, words] = 0
    for mark, following in enumerate([first, *likely.values()]):
        bias[mark, following] = 10
    head.register_forward_hook(lambda module, args, output: output + bias[args[0][..., :marks].argmax(-1)])


@pytest.fixture
def prompts(tmp_path):
    return [
        refer_record(tmp_path, "a", ["cup"], 40, 64),
        refer_record(tmp_path, "b", ["a much longer expression"], 64, 50),
        text_record("c"),
        caption_record(tmp_path, "d", "A cat.", ["cat"], 33, 47),
        refer_record(tmp_path, "e", ["dog", "the other dog"], 64, 64),
    ]
