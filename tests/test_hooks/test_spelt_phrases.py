from types import SimpleNamespace

import pytest
from support.tiny_model import tiny_tokenizer

from lira_plugin.datasets import MixtureDataset
from lira_plugin.hooks import SpeltPhrasesHook
from lira_plugin.hooks.spelt_phrases import spelt_words
from lira_plugin.structures import InputSpec, Record, Region, refer_turn
from lira_plugin.structures.conversation import Conversation


class Words:
    """A tokenizer that knows some words and spells all others."""

    def __init__(self, *known):
        self.known = known

    def __call__(self, text, add_special_tokens):
        word = text.strip()
        return {"input_ids": [1] if word in self.known else list(range(len(word)))}


class Phrases:
    def __init__(self, source, *phrases):
        self.source, self.phrases = source, phrases

    def __len__(self):
        return len(self.phrases)

    def get_record(self, index, rng):
        phrase = self.phrases[index]
        return Record(self.source, str(index), None, Conversation((refer_turn(phrase, 0),)), (Region(phrase, ()),))


def test_words_that_are_written_letter_by_letter():
    words = Words("the", "square", "left")
    assert spelt_words(["the red square", "left helmet", "a helmet 12345 ab"], words) == ["helmet"]
    assert spelt_words(["helmet"], tiny_tokenizer()) == ["helmet"], "bytes alone"


@pytest.mark.parametrize("phrase", ["the square", "a helmet"])
def test_the_training_is_warned_once_a_set(phrase, monkeypatch):
    mixture = MixtureDataset([Phrases("scenes", "the square"), Phrases("own/train", phrase, phrase)])
    model = type("Model", (), {"input_spec": InputSpec(tokenizer=Words("the", "square"))})()
    runner = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=mixture), model=model)
    said = []
    monkeypatch.setattr("lira_plugin.hooks.spelt_phrases.print_log", lambda message, **_: said.append(message))
    SpeltPhrasesHook().before_train(runner)
    warned = "".join(said)
    if phrase == "a helmet":
        assert warned.count("letter by letter") == 1 and "own/train" in warned and "'helmet'" in warned
    else:
        assert not warned
