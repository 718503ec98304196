"""The state machine, driven by scripts."""

from itertools import islice
from weakref import WeakSet

import numpy as np
import pytest
import torch
from support.scripted_llm import (
    FORCED,
    GROUNDED,
    SEG,
    SIDE,
    SPACE,
    STOP,
    VIEW,
    VIEW_LENGTH,
    ScriptedGrounder,
    column,
    decode,
    generator,
    request,
    run,
)

from lira_plugin.models.generation import Decoding, Prefix, Request, pass_groups
from lira_plugin.structures import Letterbox


def test_plain_text():
    grounder = ScriptedGrounder([11, 10, 12, 13])
    (answer,) = run(grounder, [request(0)])
    assert (answer.text, answer.raw_text, answer.spans, answer.finished) == ("A dog runs.", "A dog runs.", (), True)
    assert grounder.decoded == [] and grounder.views == []


def test_a_region_is_viewed_and_its_phrase_opened():
    grounder = ScriptedGrounder(GROUNDED)
    (answer,) = run(grounder, [request(0)])
    assert answer.text == "dog." and answer.raw_text == "<seg><image_id> <p> dog </p> <seg>." and answer.finished
    (span,) = answer.spans
    assert (span.start, span.end, span.phrase) == (0, 3, "dog")
    np.testing.assert_array_equal(span.coarse_mask, column(0))
    np.testing.assert_array_equal(span.mask, column(9), "decoded from the <seg> after the phrase")
    assert span.score == pytest.approx(1 / (1 + np.exp(-2.0)))
    (((image, mask),),) = grounder.views
    assert image == 0
    np.testing.assert_array_equal(mask, column(0), "the view is that of the coarse mask")
    fed = sum(rows for _, rows in grounder.llm.passes)
    assert fed == 2 + len(GROUNDED) + VIEW_LENGTH, "the view takes its rows, and nothing is fed twice"


def test_the_first_token_says_how_sure_the_model_is_of_a_phrase():
    """Scores are 1 for the scripted token, 0.5 for "dog" and 0 for the others."""
    total = np.exp(1) + np.exp(0.5) + 30
    (grounded, plain) = run(ScriptedGrounder(GROUNDED, [11, 10, 12, 13]), [request(0), request(1)])
    assert grounded.seg_prob == pytest.approx((np.exp(1) + 1) / total), "<seg> and <p>"
    assert plain.seg_prob == pytest.approx(2 / total)
    (forced,) = run(ScriptedGrounder(GROUNDED), [request(0, forced_ids=(SEG,))])
    assert forced.seg_prob is None


def test_forced_tokens_are_not_asked_of_the_model():
    scripts = [list(GROUNDED)]
    scripts[0][2:4] = [15, 15]  # what it would have written instead
    (answer,) = run(ScriptedGrounder(*scripts), [request(0)])
    assert answer.raw_text == "<seg><image_id> <p> dog </p> <seg>."


def test_a_phrase_may_be_left_to_the_model():
    script = list(GROUNDED)
    script[2:4] = [15, 15]
    (answer,) = run(ScriptedGrounder(script), [request(0)], force_phrase=False)
    assert answer.raw_text == "<seg><image_id>catcat dog </p> <seg>."


def test_a_view_without_any_mask_is_of_the_whole_image():
    grounder = ScriptedGrounder([VIEW, *FORCED, SPACE, 10, SPACE, STOP])
    (answer,) = run(grounder, [request(0, size=(12, SIDE))])
    (((_, mask),),) = grounder.views
    assert mask.shape == (12, SIDE) and mask.all()
    assert answer.text == "dog" and answer.spans == ()


def test_an_empty_mask_gives_an_empty_region_with_score_zero():
    grounder = ScriptedGrounder(GROUNDED, empty={0})
    (answer,) = run(grounder, [request(0)])
    assert not grounder.views[0][0][1].any()
    (span,) = answer.spans
    assert not span.mask.any() and not span.coarse_mask.any() and span.score == 0


def test_masks_have_the_size_of_the_image():
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0, size=(12, SIDE))])
    np.testing.assert_array_equal(answer.spans[0].mask, column(9)[:12])
    np.testing.assert_array_equal(answer.spans[0].coarse_mask, column(0)[:12])


def test_several_regions_are_viewed_in_turn():
    two = [11, *GROUNDED[:-1], 14, SEG, VIEW, *FORCED, SPACE, 15, SPACE, STOP, SPACE, SEG, 13]
    grounder = ScriptedGrounder(two)
    (answer,) = run(grounder, [request(0)])
    assert answer.text == "A dog and cat."
    assert [(span.start, span.end, span.phrase) for span in answer.spans] == [(2, 5, "dog"), (10, 13, "cat")]
    assert len(grounder.views) == 2
    np.testing.assert_array_equal(grounder.views[0][0][1], column(1))
    np.testing.assert_array_equal(grounder.views[1][0][1], column(12), "of the latest <seg>")
    np.testing.assert_array_equal(answer.spans[1].mask, column(21))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 8])
def test_the_limit_counts_chosen_tokens_only(limit):
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], max_new_tokens=limit)
    assert answer.raw_text == decode(GROUNDED[: limit if limit <= 2 else limit + len(FORCED)])
    assert not answer.finished
    assert len(answer.spans) == 1, "the first <seg> has its mask, even as the last token allowed"
    np.testing.assert_array_equal(answer.spans[0].coarse_mask, column(0))


def test_a_seg_at_the_limit_is_still_decoded():
    chosen_tokens = len(GROUNDED) - 1 - len(FORCED)  # up to the second <seg>
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], max_new_tokens=chosen_tokens)
    assert answer.raw_text.endswith("</p> <seg>") and not answer.finished
    np.testing.assert_array_equal(answer.spans[0].mask, column(9))


def test_an_answer_that_ends_at_the_limit_by_itself_is_finished():
    (answer,) = run(ScriptedGrounder([11, 10]), [request(0)], max_new_tokens=3)
    assert answer.finished and answer.text == "A dog"


def test_without_an_image_nothing_is_viewed_or_decoded():
    grounder = ScriptedGrounder([SEG, VIEW, 10])
    (answer,) = run(grounder, [request(0, image=False)])
    assert answer.raw_text == "<seg><image_id>dog" and answer.spans == () and answer.text == "dog"
    assert grounder.views == [] and grounder.decoded == []


def test_without_ilvc_the_model_never_asks_for_a_view():
    grounder = ScriptedGrounder([SEG, VIEW, 13])
    (answer,) = run(grounder, [request(0)], ilvc=False)
    assert grounder.views == [] and answer.raw_text == "<seg>dog.", "the second choice instead"


SCRIPTS = [
    [11, 10, 12, 13],
    GROUNDED,
    [],
    [VIEW, *FORCED, 10],
    [11, *GROUNDED[:-1], 14, SEG, VIEW, *FORCED, SPACE, 15, SPACE, STOP, SPACE, SEG, 13],
    [10] * 20,
    [SEG, 13],
]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50])
def test_any_batch_size_gives_the_same_answers_in_the_order_of_the_requests(batch_size):
    grounder = ScriptedGrounder(*SCRIPTS)
    requests = [request(number, length=1 + 3 * number % 5, image=number != 2) for number in range(len(SCRIPTS))]
    answers = run(grounder, requests, batch_size=batch_size, max_new_tokens=15)
    for number, answer in enumerate(answers):
        (alone,) = run(ScriptedGrounder(*SCRIPTS), [requests[number]], max_new_tokens=15)
        assert (answer.raw_text, answer.text, answer.finished) == (alone.raw_text, alone.text, alone.finished)
        assert len(answer.spans) == len(alone.spans)
        for span, other in zip(answer.spans, alone.spans):
            np.testing.assert_array_equal(span.mask, other.mask)
            np.testing.assert_array_equal(span.coarse_mask, other.coarse_mask)
    assert answers[1].text == "dog." and answers[2].text == "" and not answers[5].finished
    assert max(rows for rows, _ in grounder.llm.passes) <= batch_size


def test_rows_that_wait_are_served_together():
    grounder = ScriptedGrounder(*[[10] * number + GROUNDED for number in range(4)])
    run(grounder, [request(number, length=1 + number) for number in range(4)])
    assert [len(views) for views in grounder.views] == [4]
    assert grounder.decoded == [4, 4], "all coarse masks in one call, all refined ones in another"


def test_no_request_gives_no_answer():
    assert run(ScriptedGrounder(), []) == []


@pytest.mark.parametrize("settings", [{"max_new_tokens": 0}, {"batch_size": 0}, {"prompt_lookup_num_tokens": -1}])
def test_nonsense_settings_are_an_error(settings):
    with pytest.raises(ValueError, match="positive|negative"):
        run(ScriptedGrounder(), [], **settings)


# --- the queue --------------------------------------------------------------------------------------------------------


def test_a_queue_longer_than_the_batch_keeps_it_full(monkeypatch):
    monkeypatch.setattr(pass_groups, "PASS", 0)  # prompts and tokens apart
    scripts = [[10] * (2 + 3 * number % 4) for number in range(12)]
    grounder = ScriptedGrounder(*scripts)
    run(grounder, [request(number) for number in range(12)], batch_size=3)
    shapes = grounder.llm.passes
    rows = [sum(rows for rows, new in shapes if new == 1), sum(rows for rows, new in shapes if new > 1)]
    assert rows == [sum(map(len, scripts)), 12], "each token is run once"
    joint = sum(len(script) + 1 for script in scripts)  # steps of rows, spread over 3
    assert len([new for _, new in shapes if new == 1]) <= joint / 3 + max(map(len, scripts))


def test_requests_join_by_a_quarter_of_the_batch(monkeypatch):
    """Answers of 3 to 14 tokens: rows end one after another."""
    monkeypatch.setattr(pass_groups, "PASS", 0)
    grounder = ScriptedGrounder(*[[10] * (3 + 7 * number % 12) for number in range(40)])
    run(grounder, [request(number) for number in range(40)], batch_size=8)
    prompts = [rows for rows, new in grounder.llm.passes if new > 1]
    assert sum(prompts) == 40 and prompts[0] == 8 and min(prompts[:-1]) == 2


def test_requests_are_taken_when_there_is_room():
    taken = []

    def requests():
        for number in range(20):
            taken.append(number)
            yield request(number)

    scripts = [[10] * (number % 5) for number in range(20)]
    done = 0
    for progress in generator(ScriptedGrounder(*scripts), batch_size=3).stream(requests()):
        assert len(taken) <= done + 3
        done += progress.done
    assert done == 20


def test_answers_of_a_long_queue_come_early():
    taken = (request(0) for _ in range(300))
    answers = generator(ScriptedGrounder([10, 12]), batch_size=2).answers(taken)
    assert sorted(number for number, _ in islice(answers, 6)) == list(range(6))
    assert len(list(taken)) >= 290


def test_a_row_does_not_wait_for_its_view_for_ever():
    """Others that never ask for a view must not keep it from being served."""
    requests = (request(0 if number == 5 else 1) for number in range(300))
    answers = generator(ScriptedGrounder(GROUNDED, [10, 12, 13, 10, 12, 13]), batch_size=4).answers(requests)
    served = dict(islice(answers, 60))
    assert served[5].text == "dog."


def test_answers_that_were_given_out_are_released():
    alive = WeakSet()

    def requests():
        for _ in range(40):
            made = request(0)
            alive.add(made)
            yield made

    for _ in generator(ScriptedGrounder(GROUNDED), batch_size=2).answers(requests()):
        assert len(alive) <= 5, "two that run, two that are done, and one at hand"


def test_only_the_states_of_segs_are_kept():
    """Not those of the prompt that was run in the same pass."""
    requests = [request(0, length=40, forced_ids=(SEG, VIEW))]
    kept = []
    for states in generator(ScriptedGrounder(GROUNDED))._run(requests):
        kept += [state.untyped_storage().nbytes() for one in states for state in one.seg_states.values()]
    assert kept and set(kept) == {3 * 4}


def test_masks_are_resized_once_and_those_of_one_size_together(monkeypatch):
    resized = []
    resize = Letterbox.invert_logits
    monkeypatch.setattr(
        Letterbox, "invert_logits", lambda self, logits: resized.append(len(logits)) or resize(self, logits)
    )
    sizes = [(60, 90), (60, 90), (40, 40), (60, 90)]
    requests = [request(number, size=size) for number, size in enumerate(sizes)]
    answers = run(ScriptedGrounder(*[GROUNDED] * 4), requests)
    assert [answer.spans[0].mask.shape for answer in answers] == sizes
    assert resized == [3, 1, 3, 1], "coarse masks, then refined ones"
    resized.clear()
    *_, last = generator(ScriptedGrounder(GROUNDED)).stream([request(0, size=(60, 90))])
    assert last.done and resized == [1, 1]


@pytest.mark.parametrize(("rows", "prefix"), [(0, None), (3, 3), (3, 4), (3, 0)])
def test_a_request_without_a_row_to_run_is_an_error(rows, prefix):
    prompt = torch.zeros(rows, 3)
    with pytest.raises(ValueError, match="at least one position"):
        Request(prompt, None, None, 0, prefix=None if prefix is None else Prefix("key", prefix))


def test_each_request_may_have_settings_of_its_own():
    scripts = [GROUNDED, GROUNDED, GROUNDED, [10, 11] * 8]
    settings = [None, Decoding(ilvc=False), Decoding(stop_strings=("<image_id>",)), Decoding(max_new_tokens=3)]
    requests = [request(number, decoding=decoding) for number, decoding in enumerate(settings)]
    answers = run(ScriptedGrounder(*scripts), requests, max_new_tokens=12)
    assert answers[0].raw_text == "<seg><image_id> <p> dog </p> <seg>."
    assert "<image_id>" not in answers[1].raw_text
    assert answers[2].raw_text == "<seg>" and answers[2].finished
    assert answers[3].text == "dogA dog" and not answers[3].finished


def test_logits_and_threshold():
    """The mask is where the logits are above the threshold's; outside of its column the mock gives -2."""
    low = 1 / (1 + np.exp(2.5))
    requests = [request(0, decoding=Decoding(threshold=threshold, keep_logits=True)) for threshold in (0.5, low)]
    plain, generous = run(ScriptedGrounder(GROUNDED), requests)
    for answer, mask in ((plain, column(9)), (generous, np.ones((SIDE, SIDE), bool))):
        (span,) = answer.spans
        np.testing.assert_array_equal(span.mask, mask)
        np.testing.assert_array_equal(span.logits, np.where(column(9), 2, -2))
    assert run(ScriptedGrounder(GROUNDED), [request(0)])[0].spans[0].logits is None


def test_nothing_is_written_behind_a_stop_string_among_forced_tokens():
    """The opening of a phrase is two tokens; the answer ends after the first of them."""
    (answer,) = run(ScriptedGrounder(GROUNDED), [request(0)], stop_strings=(" ",))
    assert answer.raw_text == "<seg><image_id>" and answer.finished


def test_a_prefix_that_was_not_run_yet_is_not_copied():
    """The first prompt waits for its view at once; the second one comes later and wants the same prefix."""
    grounder = ScriptedGrounder([VIEW, *FORCED, 10], [10] * 9, GROUNDED)
    grounder.llm.marks = {0: 4 * 7, 2: 4 * 7}
    requests = [
        request(0, prefix=(7, 4), forced_ids=(VIEW,)), request(1), request(2, prefix=(7, 4)),
    ]  # fmt: skip
    alone = [run(grounder, [one])[0].raw_text for one in requests]
    assert [answer.raw_text for answer in run(grounder, requests, batch_size=2)] == alone
