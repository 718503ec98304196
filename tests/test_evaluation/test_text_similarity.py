"""Similarity of phrases: by words, and by embeddings of a small language model of random weights."""

import math

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from lira_plugin.evaluation import build_similarity

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "the", "cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_exact_is_equality_without_case_and_blanks():
    exact = build_similarity()
    assert exact(" A Dog", "a dog\n") == 1.0 and exact("a dog", "dog") == 0.0 and exact("", " ") == 1.0


@pytest.mark.parametrize("name", ["bert", "minilm"])
def test_embeddings_are_means_over_all_tokens(folder, name):
    similarity = build_similarity(name, str(folder))
    model = BertModel.from_pretrained(folder).eval()

    def embedding(text):
        ids = [2, *(WORDS.index(word) for word in text.lower().split()), 3]
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0].tolist()
        return [sum(column) / len(ids) for column in zip(*states)]

    for one, two in (("a dog", "The cat"), ("a dog", "a dog"), ("", "cat")):
        first, second = embedding(one), embedding(two)
        dot = sum(x * y for x, y in zip(first, second))
        assert similarity(one, two) == pytest.approx(dot / math.hypot(*first) / math.hypot(*second), abs=1e-5)
    assert similarity.embed.cache_info().hits > 0


def test_what_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"unknown similarity 'word'; known are \['exact', 'bert', 'minilm'\]"):
        build_similarity("word")
    with pytest.raises(ValueError, match="'exact' has no model"):
        build_similarity("exact", "folder")
    with pytest.raises(OSError, match=r"language model '.*nowhere'.*cannot be loaded[^$]*--similarity-model"):
        build_similarity("bert", str(tmp_path / "nowhere"))
