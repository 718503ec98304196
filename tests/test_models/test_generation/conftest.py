"""A real LIRA that likes special tokens, and prompts of all kinds for it."""

import pytest
from support.scripted_llm import LIMIT
from support.tiny_model import caption_record, refer_record, text_record, tiny_lira
from support.word_grammar import write_regions


@pytest.fixture
def model():
    lira = tiny_lira(seed=11, generation={"max_new_tokens": LIMIT}, llm={"initializer_range": 0.4}).eval()
    write_regions(lira)
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
