"""Control tokens that people spell are letters, in training and in generation; those of the templates are tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_model import TEMPLATE, caption_record, make_samples, refer_record, text_record, tiny_tokenizer

from lira_plugin.datasets import ILVC, TokenizeConversation
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.inference.inputs import Prompt
from lira_plugin.structures import (
    IGNORE_INDEX,
    GroundedSpan,
    GroundedText,
    TokenKind,
    VisualLayout,
)
from lira_plugin.tokens import SpecialTokens, TextEncoder

CONTROL = ["<seg>", "<image_id>", "<p>", "</p>", "<|im_start|>", "<|im_end|>", "<s>", "<pad>", "<IMG_CONTEXT>"]
each_token = pytest.mark.parametrize("token", CONTROL)


def full_tokenizer():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<IMG_CONTEXT>"], special_tokens=True)
    SpecialTokens().add_to(tokenizer)
    return tokenizer


TOKENIZER = full_tokenizer()
IDS = {token: TOKENIZER.convert_tokens_to_ids(token) for token in CONTROL}


def pieces(ids):
    return TOKENIZER.convert_ids_to_tokens(list(ids))


def bytes_of(text):
    """Every letter of ASCII is a token of its own."""
    return ["Ġ" if letter == " " else "Ċ" if letter == "\n" else letter for letter in text]


words = [*CONTROL, "<", "seg>", "<<seg>", "a dog", " ", "\n", "<|", "é人", ">"]
texts = st.lists(st.sampled_from(words), max_size=8).map("".join)


@given(st.text(max_size=40) | texts, texts, st.text(max_size=10))
def test_the_texts_of_people_are_letters_and_those_of_templates_are_tokens(user, before, after):
    """Against the definition: each stretch by itself, without special tokens where a person wrote it."""
    encode = TextEncoder(TOKENIZER)
    text = before + user + after
    ids = encode(text, ((len(before), len(before) + len(user)),))
    plain = TOKENIZER(user, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    outside = [TOKENIZER(part, add_special_tokens=False)["input_ids"] for part in (before, after)]
    assert ids == outside[0] + plain + outside[1]
    if not any(token in text for token in CONTROL):
        assert ids == TOKENIZER(text, add_special_tokens=False)["input_ids"], "bit by bit as the tokenizer does"
    assert encode(text) == TOKENIZER(text, add_special_tokens=False)["input_ids"], "nothing of people"


@each_token
def test_a_question_spells_it_in_training_and_in_generation(tmp_path, token):
    question = f"What is {token} in {token}{token}?"
    records = [text_record("a", question)]
    with_image = [text_record("b", question, image_path=refer_record(tmp_path, "b", ["dog"]).image_path)]
    for record in (*records, *with_image):
        found = []
        for for_generation in (False, True):
            (sample,) = make_samples([record], for_generation=for_generation)
            prompt = sample.input_ids[(sample.labels == IGNORE_INDEX) & (sample.kinds == TokenKind.TEXT)]
            found.append(tiny_pieces(prompt.tolist()))
        assert found[0] == found[1], "a model is asked what it was trained on"
        image = record.image_path is not None
        expected = ["<s>", "<|im_start|>", *bytes_of("user\n"), *(["Ċ"] if image else [])]
        expected += [*bytes_of(question), "<|im_end|>", "<|im_start|>", *bytes_of("assistant\n")]
        assert found[0] == expected


def tiny_pieces(ids):
    tokenizer = tiny_tokenizer()
    SpecialTokens().add_to(tokenizer)
    return tokenizer.convert_ids_to_tokens(ids)


def prompt_ids(record):
    """Text of the prompt that a record becomes."""
    tokenize = TokenizeConversation(full_tokenizer(), VisualLayout(1, 1, 1))
    transform = build_pipeline([ILVC(8, TEMPLATE, answers=False), tokenize])
    image = np.zeros((48, 64, 3), np.uint8)
    masks = np.ones((len(record.regions), 48, 64), bool)
    tiles = torch.zeros((1, 3, 8, 8), dtype=torch.uint8)
    results = {"record": record, "rng": np.random.default_rng(0), "image": image, "masks": masks, "tiles": tiles}
    results = transform(results)
    return results["input_ids"][results["kinds"] == TokenKind.TEXT].tolist()


@each_token
def test_a_history_spells_it_too(token):
    """What was asked, what was answered, and the phrase of a mask."""
    mask = np.ones((48, 64), bool)
    answer = GroundedText(f"a {token} dog, {token}", (GroundedSpan(0, 6 + len(token), f"a {token} dog", mask),))
    prompt = Prompt("a.png", np.zeros((48, 64, 3), np.uint8), f"And {token}?")
    ids = prompt_ids(prompt.record(0, [(f"Is {token}?", answer)]))
    end, start = ["<|im_end|>"], ["<|im_start|>"]
    assert pieces(ids) == [
        *["<s>", *start, *bytes_of("user\n\n"), *bytes_of(f"Is {token}?"), *end, *start, *bytes_of("assistant\n")],
        *["<seg>", "<image_id>", "Ġ", "<p>", *bytes_of(f" a {token} dog "), "</p>", "Ġ", "<seg>"],
        *[*bytes_of(f", {token}"), *end, *start, *bytes_of("user\n"), *bytes_of(f"And {token}?"), *end, *start],
        *bytes_of("assistant\n"),
    ]


@each_token
def test_a_forced_phrase_spells_it(tmp_path, token):
    record = refer_record(tmp_path, "a", [f"the {token} dog"])
    (sample,) = make_samples([record], for_generation=True, forced=True)
    blank = "Ġ"
    expected = ["<seg>", "<image_id>", blank, "<p>", *bytes_of(f" the {token} dog "), "</p>", blank, "<seg>"]
    assert tiny_pieces(sample.forced_ids) == expected


@pytest.mark.parametrize("token", [token for token in CONTROL if token != "<IMG_CONTEXT>"])
@pytest.mark.parametrize("where", ["answer", "phrase", "caption", "earlier answer"])
def test_what_is_learnt_must_not_spell_it(tmp_path, token, where):
    record = {
        "answer": text_record("a", "Why?", f"An {token}."),
        "phrase": refer_record(tmp_path, "a", ["dog", f"red {token} dog"]),
        "caption": caption_record(tmp_path, "a", f"A dog and {token}.", ["dog"]),
        "earlier answer": refer_record(tmp_path, "a", [f"{token}", "dog"]),
    }[where]
    for prob in (0, 1):
        with pytest.raises(ValueError, match=r"record a .*special token '(.*?)'.*control_tokens='plain'") as error:
            make_samples([record], prob=prob)
        assert repr(token) in str(error.value)
    make_samples([record], for_generation=True)  # there it is history, or left out


@each_token
def test_it_can_be_learnt_as_letters(token):
    record = text_record("a", "Why?", f"An {token}.")
    tokenize = TokenizeConversation(full_tokenizer(), VisualLayout(1, 1, 1), control_tokens="plain")
    transform = build_pipeline([ILVC(8, TEMPLATE), tokenize])
    results = {"record": record, "rng": np.random.default_rng(0), "tiles": torch.zeros((0, 3, 8, 8), dtype=torch.uint8)}
    labels = transform(results)["labels"]
    assert pieces(labels[labels != IGNORE_INDEX].tolist()) == [*bytes_of(f"An {token}."), "<|im_end|>"]


def test_an_unknown_rule_is_an_error():
    with pytest.raises(
        ValueError, match=r"control_tokens of TokenizeConversation must be 'raise' or 'plain', got 'skip'"
    ):
        TokenizeConversation(control_tokens="skip")


def test_a_tokenizer_that_cannot_spell_a_token_says_so():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<seg>"], special_tokens=False)
    with pytest.raises(ValueError, match=r"'<seg>' is spelt in 'a <seg>', and the tokenizer .* cannot write it"):
        TextEncoder(tokenizer, ["<seg>"])("a <seg>", ((0, 7),))


# Answers that max_length cuts


def test_answers_that_lose_their_end_are_counted():
    record = text_record("a", "q", "A long answer.")
    (whole,) = make_samples([record])
    assert whole.cut_answers == 0
    for cut in range(1, len("A long answer.") + 1):
        (sample,) = make_samples([record], max_length=len(whole.input_ids) - cut)
        assert sample.cut_answers == 1 and sample.dropped_regions == 0
        assert sample.input_ids.tolist() == whole.input_ids.tolist()[:-cut]
    with pytest.raises(ValueError, match=r"vqa/test record a .*leave no room for an answer"):
        make_samples([record], max_length=len(whole.input_ids) - len("A long answer.") - 1)


def test_answers_are_counted_turn_by_turn(tmp_path):
    record = refer_record(tmp_path, "a", ["dog", "cat", "cup"])
    (whole,) = make_samples([record])
    length = int((whole.kinds == TokenKind.TEXT).sum())
    counts = []
    for max_length in range(length, 0, -1):
        try:
            (sample,) = make_samples([record], max_length=max_length)
        except ValueError:
            break
        ended = (sample.labels == TOKENIZER.convert_tokens_to_ids("<|im_end|>")).sum()
        counts.append(sample.cut_answers)
        assert sample.cut_answers == 3 - ended
    assert sorted(counts) == counts and set(counts) == {0, 1, 2, 3}


def test_a_prompt_cuts_no_answer(tmp_path):
    (sample,) = make_samples([refer_record(tmp_path, "a", ["dog", "cat"])], for_generation=True)
    assert sample.cut_answers == 0
