import pytest

from lira_plugin.structures import (
    ChatTemplate,
    Conversation,
    PhraseSpan,
    Record,
    Region,
    Turn,
    refer_label,
    refer_question,
    refer_turn,
)

ANSWER = "a cat and a dog."


def test_a_turn_keeps_ordered_spans():
    turn = Turn("What is there?", ANSWER, (PhraseSpan(0, 5, 1), PhraseSpan(10, 15, 0)))
    assert [ANSWER[span.start : span.end] for span in turn.spans] == ["a cat", "a dog"]


@pytest.mark.parametrize("span", [(3, 3), (5, 2), (-1, 4), (10, len(ANSWER) + 1)])
def test_a_span_that_is_empty_or_outside_is_an_error(span):
    with pytest.raises(ValueError, match=rf"span \[{span[0]}, {span[1]}\) is empty or outside"):
        Turn("", ANSWER, (PhraseSpan(*span, 0),))


@pytest.mark.parametrize("spans", [[(0, 5), (4, 9)], [(10, 15), (0, 5)], [(0, 5), (0, 5)]])
def test_spans_that_overlap_or_are_out_of_order_are_an_error(spans):
    with pytest.raises(ValueError, match="overlaps the span before it"):
        Turn("", ANSWER, tuple(PhraseSpan(*span, index) for index, span in enumerate(spans)))


def test_touching_spans_are_allowed():
    Turn("", "ab", (PhraseSpan(0, 1, 0), PhraseSpan(1, 2, 1)))


def test_a_conversation_needs_a_turn():
    with pytest.raises(ValueError, match="at least one turn"):
        Conversation(())


def test_a_region_is_named_once_in_all_turns():
    turn = refer_turn("cat", 0)
    with pytest.raises(ValueError, match="more than one span"):
        Conversation((turn, turn))


def test_regions_are_listed_in_order_of_mention():
    assert Conversation((refer_turn("cat", 2), refer_turn("dog", 0))).mentioned_regions == (2, 0)


@pytest.mark.parametrize("region", [1, -1])
def test_a_span_that_names_no_region_of_the_record_is_an_error(region):
    with pytest.raises(ValueError, match=rf"refcoco/val record 7: a span names region {region}, but there are 1"):
        Record("refcoco/val", "7", None, Conversation((refer_turn("cat", region),)), (Region("cat", ()),))


def test_a_template_needs_a_place_for_the_question():
    with pytest.raises(ValueError, match=r"\{input\}"):
        ChatTemplate("", "<|user|>", "")


def test_refer_turn_grounds_the_label_alone():
    turn = refer_turn(" The Left Cat ", 3)
    (span,) = turn.spans
    assert (turn.answer, turn.answer[span.start : span.end], span.region) == ("the left cat.", "the left cat", 3)


def test_refer_turn_without_a_target_grounds_nothing():
    turn = refer_turn("cat", None)
    assert turn.spans == () and "no cat" in turn.answer


@pytest.mark.parametrize(
    ("question", "label"),
    [
        ("Please segment the red car.", "the red car"),
        ("  please  segment it", "it"),
        ("please segment  The man, in a U.S. flag . ", "the man, in a u.s. flag"),
        ("Please segment 2.5 m pole", "2.5 m pole"),
        ("Please segment .", None),
        ("Please segment", None),
        ("What is this?", None),
    ],
)
def test_the_label_of_a_question(question, label):
    assert refer_label(question) == label


@pytest.mark.parametrize("label", ["cat", "left man", "no. 5", 'a "b" c'])
def test_the_label_is_what_the_question_was_made_of(label):
    assert refer_label(refer_question(label)) == label
