"""What the LLM would say at a ``<seg>``: its words, against plain forward passes."""

import math

import pytest
import torch
from support.internvl_twin import train_sentencepiece, write_tokenizer
from support.tiny_model import make_batch, make_samples, refer_record, tiny_tokenizer
from test_real_model import algorithm_1
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer
from lira_plugin.datasets import grounding_collate
from lira_plugin.models.generation import read_answer
from lira_plugin.models.generation.word_tokens import tokens_to_score, word_forms, words_by_value
from lira_plugin.settings import WrongSetting
from lira_plugin.structures import load_lexicon
from lira_plugin.tokens import SpecialTokens, TextEncoder

COLORS = ["sac", "sacs", "s", "a", "ac ca", "ac sa", "ca", "casa"]
"""Of letters that the model likes; each letter is a token."""
SETS = {"color": COLORS, "location": {"sa": "left", "saac": "left", "cc": "right", "a cc": "right"}}


# --- words as tokens ----------------------------------------------------------------------------------------------------


def byte_bpe():
    """Whole words are tokens, with a space before them and without."""
    words = ["red", "blue", "gray", "light", "green"]
    text = [f" {' '.join(words)}", *words] * 30
    tokenizer = Tokenizer(kinds.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")


def sentencepiece(folder, add_dummy_prefix):
    folder.mkdir()
    write_tokenizer(folder, train_sentencepiece(add_dummy_prefix=add_dummy_prefix))
    return internlm2_tokenizer(folder)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    made = {
        "bytes": tiny_tokenizer(),
        "byte-level BPE": byte_bpe(),
        "sentencepiece": sentencepiece(folder / "plain", False),
        "sentencepiece with a dummy prefix": sentencepiece(folder / "dummy", True),
    }
    for tokenizer in made.values():
        SpecialTokens().add_to(tokenizer)
    return made


@pytest.mark.parametrize("name", ["bytes", "byte-level BPE", "sentencepiece", "sentencepiece with a dummy prefix"])
def test_both_forms_of_a_word_are_what_the_tokenizer_makes_of_a_text(tokenizers, name):
    tokenizer = tokenizers[name]
    seg = tokenizer.convert_tokens_to_ids("<seg>")
    encode = TextEncoder(tokenizer)
    for word in ("red", "light blue", "Größe", "</p>"):
        forms = word_forms(encode, seg, word)
        texts = {tokenizer.decode([seg, *form], clean_up_tokenization_spaces=False) for form in forms}
        assert {text.removeprefix("<seg>").strip() for text in texts} == {word}
        assert len(forms) == 2, "with a space and without"
        assert not any(index in tokenizer.all_special_ids for form in forms for index in form), "letters alone"


def test_words_that_are_tokens_keep_their_two_forms(tokenizers):
    tokenizer = tokenizers["byte-level BPE"]
    seg = tokenizer.convert_tokens_to_ids("<seg>")
    ids = {tuple(tokenizer.convert_tokens_to_ids([piece])) for piece in ("red", "Ġred")}
    assert word_forms(TextEncoder(tokenizer), seg, "red") == ids


def test_a_word_that_the_tokenizer_lacks_is_an_error():
    tokenizer = Tokenizer(kinds.WordLevel({"<unk>": 0, "red": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    SpecialTokens().add_to(tokenizer)
    seg, encode = tokenizer.convert_tokens_to_ids("<seg>"), TextEncoder(tokenizer)
    assert word_forms(encode, seg, "red") == {(1,)}
    with pytest.raises(ValueError, match="cannot write the word 'mauve'"):
        word_forms(encode, seg, "mauve")


def test_the_first_token_that_tells_a_word_from_others():
    forms = {
        "red": [(1,), (9, 1)],
        "light blue": [(2, 3)],
        "light green": [(2, 4, 5)],
        "lime": [(6, 7)],
        "sky": [(9, 8)],
    }
    assert tokens_to_score(forms, "first") == {
        "red": [(1,), (9, 1)],
        "light blue": [(2, 3)],
        "light green": [(2, 4)],
        "lime": [(6,)],
        "sky": [(9, 8)],
    }
    assert tokens_to_score(forms, "whole") == {value: sorted(own) for value, own in forms.items()}


def test_what_another_begins_with_stays_whole():
    forms = {"orange": [(1,)], "orange juice": [(1, 2, 3)]}
    assert tokens_to_score(forms, "first") == {"orange": [(1,)], "orange juice": [(1, 2)]}


@pytest.mark.parametrize("rule", ["first", "whole"])
def test_no_probability_of_a_value_counts_twice(rule):
    """All texts that go on with "leftmost" in two tokens go on with "left"."""
    assert tokens_to_score({"left": [(1,), (1, 2), (3, 1)]}, rule)["left"] == (
        [(1,), (3,)] if rule == "first" else [(1,), (3, 1)]
    )


def test_sets_are_lists_or_mappings():
    assert words_by_value("color", ["red", "gray", "red"]) == {"red": ["red"], "gray": ["gray"]}
    assert words_by_value("color", {"grey": "gray", "red": "red", "gray": "gray"}) == {
        "gray": ["grey", "gray"],
        "red": ["red"],
    }
    for wrong in ("red", [], {}, [""], {"red": ""}, [3]):
        with pytest.raises(WrongSetting, match="color"):
            words_by_value("color", wrong)


def test_a_kind_without_words_has_those_of_its_lexicon():
    values = list(load_lexicon("color").values)
    assert words_by_value("color", None) == {value: [value] for value in values} and "red" in values
    with pytest.raises(WrongSetting, match="no lexicon of 'size', only of category, location, color"):
        words_by_value("size", None)


# --- at the <seg> of a model --------------------------------------------------------------------------------------------


STARTS = {
    "first": {
        "sac": ["sac"],  # all of it begins another, as all of "s", "a" and "ca"
        "sacs": ["sacs"],
        "s": ["s"],
        "a": ["a"],
        "ac ca": ["ac c"],
        "ac sa": ["ac s"],
        "ca": ["ca"],
        "casa": ["cas"],
        "left": ["s"],
        "right": ["c", "a"],
    },
    "whole": {**{word: [word] for word in COLORS}, "left": ["sa"], "right": ["cc", "a cc"]},
}
"""By hand: for each value the strings whose probabilities count, with a space before them and without."""


def expected_words(model, rows, rule):
    """Log probability of each value behind embeddings (n, H)."""
    return {
        value: float(
            torch.tensor([log_prob(model, rows, space + text) for text in own for space in ("", " ")]).logsumexp(0)
        )
        for value, own in STARTS[rule].items()
    }


def log_prob(model, rows, text):
    """Of the letters of a text behind embeddings (n, H), each by a pass over all of the sequence."""
    total = 0.0
    for token in model.tokenizer(text, add_special_tokens=False)["input_ids"]:
        hidden = model.llm(rows[None], torch.ones(1, len(rows), dtype=torch.bool)).hidden[0, -1:]
        total += float(model.llm.logits(hidden)[0].float().log_softmax(-1)[token])
        rows = torch.cat([rows, model.llm.embed(torch.tensor([token]))])
    return total


def rows_up_to(model, ids, rows, index):
    """Of the embeddings of a prompt and its answer, those up to and with the token of an index."""
    views = ids[index + 1 : -1].count(model.ids.image_id)
    return rows[: len(rows) - (len(ids) - 1 - index) - model.semantic_encoder.tokens_per_tile * views]


@torch.no_grad()
@pytest.mark.parametrize("rule", ["first", "whole"])
def test_words_are_those_of_plain_passes(model, prompts, rule):
    model.generation.update(seg_words=SETS, seg_word_rule=rule)
    compared = 0
    for prompt in prompts[:2]:
        data = make_batch([prompt], for_generation=True)
        (answer,) = model(**data, mode="predict")
        ids, _, _, rows = algorithm_1(model, data)
        _, phrases = read_answer(ids, model.ids, model.tokenizer.decode)
        phrases = [phrase for phrase in phrases if max(phrase.before, phrase.after) >= 0]
        for span, phrase in list(zip(answer.spans, phrases, strict=True))[:1]:
            for index, words in ((phrase.before, span.coarse_words), (phrase.after, span.words)):
                if index >= 0:
                    assert list(words) == ["color", "location"] and list(words["color"]) == COLORS
                    found = {**words["color"], **words["location"]}
                    expected = expected_words(model, rows_up_to(model, ids, rows, index), rule)
                    assert found == pytest.approx(expected, abs=2e-3)
                    assert min(found.values()) > -60, "all are of letters that the model may write"
                    compared += 1
    assert compared >= 2, "else there is nothing to compare"


def words_of(answers):
    return [(span.words, span.coarse_words) for answer in answers for span in answer.spans]


def assert_close(own, other):
    assert len(own) == len(other)
    for one, two in zip(own, other):
        assert [words is None for words in one] == [words is None for words in two]
        for words, expected in zip(one, two):
            for kind in words or ():
                assert list(words[kind]) == list(expected[kind])
                assert list(words[kind].values()) == pytest.approx(list(expected[kind].values()), abs=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [2, 32])
def test_a_batch_has_the_words_of_its_samples_one_by_one(model, prompts, batch_size):
    model.generation.update(seg_words=SETS, batch_size=batch_size)
    together = model(**make_batch(prompts, for_generation=True), mode="predict")
    alone = [model(**make_batch([prompt], for_generation=True), mode="predict")[0] for prompt in prompts]
    assert len(words_of(together)) >= 3
    assert_close(words_of(together), words_of(alone))


@torch.no_grad()
def test_guesses_change_no_word(model, prompts):
    data = make_batch(prompts, for_generation=True)
    plain, guessed = (
        model.generator(seg_words=SETS, prompt_lookup_num_tokens=most)(model.requests(**data)) for most in (0, 8)
    )
    assert_close(words_of(guessed), words_of(plain))


@torch.no_grad()
def test_forced_answers_have_the_words_at_their_segs(model, tmp_path):
    """All of a forced answer runs in two passes, so its ``<seg>`` tokens are not the last of theirs."""
    samples = make_samples([refer_record(tmp_path, "a", ["cup"])], for_generation=True, forced=True)
    data = grounding_collate(samples)
    (answer,) = model.generator(seg_words=SETS)(model.requests(**data))
    (span,) = answer.spans
    encoded = model.encode(**data)
    rows = encoded.embeddings[0][encoded.attention_mask[0]]
    rows = torch.cat([rows, model.llm.embed(torch.tensor([model.ids.seg]))])
    found = {**span.coarse_words["color"], **span.coarse_words["location"]}
    assert found == pytest.approx(expected_words(model, rows, "first"), abs=2e-3)
    assert span.refined and span.words["color"] != span.coarse_words["color"]


@torch.no_grad()
def test_to_be_asked_for_words_changes_no_answer(model, prompts):
    data = make_batch(prompts, for_generation=True)
    asked, plain = (model.generator(seg_words=words)(model.requests(**data)) for words in (SETS, None))
    assert all(span.words is None and span.coarse_words is None for answer in plain for span in answer.spans)
    for own, other in zip(asked, plain, strict=True):
        assert own.raw_text == other.raw_text
        for span, expected in zip(own.spans, other.spans, strict=True):
            assert (span.mask == expected.mask).all() and span.score == expected.score
            assert span.phrase_prob == expected.phrase_prob
        assert "words" not in str(other.to_json()) and all("words" in span for span in own.to_json()["spans"])


@torch.no_grad()
def test_nothing_is_computed_where_no_words_are_asked_for(model, prompts):
    data = make_batch(prompts, for_generation=True)
    calls = []
    model.llm.causal_lm.get_output_embeddings().register_forward_hook(lambda *args: calls.append(1))
    counts = []
    for words in ({}, None, SETS):
        calls.clear()
        model.generator(seg_words=words)(model.requests(**data))
        counts.append(len(calls))
    assert counts[0] == counts[1] < counts[2]


@torch.no_grad()
def test_words_of_one_token_cost_no_pass(model, prompts):
    data = make_batch(prompts, for_generation=True)
    passes = []
    model.llm.causal_lm.get_decoder().register_forward_pre_hook(lambda *args: passes.append(1))
    counts = []
    for words in (None, {"letter": {"a": "A", "b": "B", "c": "B"}}):
        passes.clear()
        answers = model.generator(seg_words=words)(model.requests(**data))
        counts.append(len(passes))
    found = [span.words["letter"] for answer in answers for span in answer.spans]
    assert found and all(math.exp(words["A"]) + math.exp(words["B"]) <= 1 + 1e-6 for words in found)
    assert counts[1] > counts[0], "with a space before them these are two tokens"


@pytest.mark.parametrize(
    "settings",
    [{"seg_word_rule": "last"}, {"seg_words": {"color": "red"}}, {"seg_words": ["red"]}, {"seg_words": {"color": []}}],
)
def test_wrong_settings(model, settings):
    with pytest.raises(WrongSetting, match="seg_word|color"):
        model.generator(**settings)
