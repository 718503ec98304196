"""Reading an interleaved answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_llm import GROUNDED, IDS, SEG, SPACE, START, STOP, VIEW, decode
from support.tiny_model import caption_record, make_samples, refer_record, tiny_tokenizer

from lira_plugin.models.generation import PhraseTokens, read_answer
from lira_plugin.structures import IGNORE_INDEX
from lira_plugin.tokens import SpecialTokens


def read(*ids):
    return read_answer(ids, IDS, decode)


def test_an_answer_that_is_cut_off_keeps_what_is_there():
    assert read(*GROUNDED[:1]) == ("", [PhraseTokens(0, 0, 0, -1)])
    assert read(*GROUNDED[:4]) == ("", [PhraseTokens(0, 0, 0, -1, range(4, 4))])
    assert read(*GROUNDED[:8])[1] == [PhraseTokens(0, 3, 0, -1, range(4, 8))]
    text, (place,) = read(*GROUNDED[:6])
    assert text.strip() == "dog" and (place.before, place.after) == (0, -1)


def test_a_seg_without_a_phrase_stands_at_its_place():
    assert read(11, SEG, 13) == ("A .", [PhraseTokens(2, 2, 1, -1)])
    assert read(11, SEG, 14, SEG, 13) == ("A  and .", [PhraseTokens(2, 2, 1, -1), PhraseTokens(7, 7, 3, -1)])


def test_text_between_a_seg_without_a_phrase_and_the_next_phrase_is_kept():
    text, places = read(11, SEG, 14, START, SPACE, 10, SPACE, STOP, SPACE, SEG, 13)
    assert text == "A  and dog."
    assert places == [PhraseTokens(2, 2, 1, -1), PhraseTokens(7, 10, -1, 9, range(4, 8))]


def test_text_after_a_phrase_that_lacks_its_seg_is_kept():
    text, places = read(START, SPACE, 10, SPACE, STOP, 14, 15, SEG, 13)
    assert text == "dog and cat."
    assert places[-1].before == 7 or places[-1].after == 7


def without_suffix(sample, tokenizer):
    """Ids of the answer tokens, turn by turn."""
    turns, turn = [], []
    for label in sample.labels.tolist():
        if label == tokenizer.convert_tokens_to_ids("<|im_end|>"):
            turns.append(turn)
            turn = []
        elif label != IGNORE_INDEX:
            turn.append(label)
    return turns


CAPTIONS = [
    ("A man with his hat.", ["man", "hat"]),
    ("red cup", ["red cup"]),
    ("The dog, a cat and the end", ["The dog", "a cat", "end"]),
    ("her dog sleeps", ["her", "dog"]),
    ("café ünï 人: naïve", ["ünï 人", "naïve"]),
    ("Nothing is there.", []),
    ("two  spaces  (here) ", ["spaces"]),
]


@pytest.mark.parametrize("prob", [0.0, 1.0])
@pytest.mark.parametrize(("caption", "phrases"), CAPTIONS)
def test_reading_is_the_inverse_of_the_transform_for_captions(tmp_path, caption, phrases, prob):
    tokenizer = tiny_tokenizer()
    SpecialTokens().add_to(tokenizer)
    record = caption_record(tmp_path, "a", caption, phrases)
    (sample,) = make_samples([record], prob=prob)
    (ids,) = without_suffix(sample, tokenizer)
    special = SpecialTokens().resolve(tokenizer)
    text, places = read_answer(ids, special, tokenizer.decode)
    assert text == caption
    spans = record.conversation.turns[0].spans
    assert [(place.start, place.end) for place in places] == [(span.start, span.end) for span in spans]
    segs = [place for place, token in enumerate(ids) if token == special.seg]
    expected = list(zip(segs[::2], segs[1::2])) if prob else [(-1, seg) for seg in segs]
    said = [tokenizer.decode([ids[index] for index in place.tokens]) for place in places]
    assert said == [f" {phrase} </p>" for phrase in phrases]
    assert [(place.before, place.after) for place in places] == expected


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_reading_is_the_inverse_of_the_transform_for_refseg(tmp_path, prob):
    tokenizer = tiny_tokenizer()
    SpecialTokens().add_to(tokenizer)
    labels = ["red cup", "dog on the left"]
    (sample,) = make_samples([refer_record(tmp_path, "a", labels)], prob=prob)
    for label, ids in zip(labels, without_suffix(sample, tokenizer), strict=True):
        text, ((start, end, *_),) = read_answer(ids, SpecialTokens().resolve(tokenizer), tokenizer.decode)
        assert text == f"{label}." and text[start:end] == label


def test_a_phrase_that_is_not_closed_reaches_to_the_end():
    assert read(*GROUNDED[:6]) == ("dog", [PhraseTokens(0, 3, 0, -1, range(4, 6))])
    assert read(START, SPACE, 10) == ("dog", []), "it has no <seg>"
    assert read(SEG, START, SPACE, 10, SEG) == (
        "dog",
        [PhraseTokens(0, 3, 0, -1, range(2, 4)), PhraseTokens(3, 3, 4, -1)],
    )


def test_an_end_without_a_start_ends_nothing():
    assert read(11, 10, SPACE, STOP, SEG) == ("A dog ", [PhraseTokens(6, 6, 4, -1)])


@given(st.lists(st.sampled_from([SEG, VIEW, START, STOP, SPACE, SPACE, 10, 14])))
def test_the_text_of_a_part_is_the_start_of_the_text_of_the_whole(ids):
    whole, places = read(*ids)
    for end in range(len(ids) + 1):
        part, _ = read_answer(ids[:end], IDS, decode, partial=True)
        assert whole.startswith(part)
    segs = [place for place, token in enumerate(ids) if token == SEG]
    assert sorted(seg for place in places for seg in (place.before, place.after) if seg >= 0) == segs, "each one once"
    starts = [place.start for place in places]
    assert starts == sorted(starts) and all(0 <= place.start <= place.end <= len(whole) for place in places)
    assert "".join(whole.split()) == "".join(decode([i for i in ids if i > STOP]).split()), "no word is lost"
