"""A real LIRA that likes special tokens, and prompts of all kinds for it."""

import pytest
import torch
from support.scripted_llm import LIMIT
from support.tiny_model import caption_record, refer_record, text_record, tiny_lira


@pytest.fixture
def model():
    """A LIRA that often writes special tokens: random, but with a strong head for few words."""
    lira = tiny_lira(seed=11, generation={"max_new_tokens": LIMIT}, llm={"initializer_range": 0.4}).eval()
    words = lira.tokenizer("acs ", add_special_tokens=False)["input_ids"]
    allowed = [*lira.ids, lira.tokenizer.convert_tokens_to_ids("<|im_end|>"), *words]
    closed = torch.full((len(lira.tokenizer),), -1e9)
    closed[allowed] = 0
    closed[[lira.ids.seg, lira.ids.image_id]] = 0.5
    head = lira.llm.causal_lm.get_output_embeddings()
    with torch.no_grad():
        head.weight.normal_(std=1.0)
    head.register_forward_hook(lambda module, args, output: output + closed)
    return lira


@pytest.fixture
def prompts(tmp_path):
    return [
        refer_record(tmp_path, "a", ["cup"], 40, 64),
        refer_record(tmp_path, "b", ["a much longer expression"], 64, 50),
        text_record("c"),
        caption_record(tmp_path, "d", "A cat.", ["cat"], 33, 47),
        refer_record(tmp_path, "e", ["dog", "the other dog"], 64, 64),
    ]
