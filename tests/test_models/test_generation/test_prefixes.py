"""Prompts that begin alike, and images that several samples show."""

from dataclasses import replace

import pytest
import torch
from support.scripted_llm import GROUNDED, ScriptedGrounder, alike, request, run
from support.tiny_model import caption_record, make_samples, refer_record, text_record, two_image_sample

from lira_plugin.datasets import grounding_collate
from lira_plugin.models.answering import shared_prefixes
from lira_plugin.models.generation import pass_groups

ROWS = 9  # of a prefix


def shared(number, mark=7, share=True, **settings):
    return request(number, length=1 + number % 3, prefix=(mark, ROWS), share=share, **settings)


def grounder_for(scripts, marks):
    grounder = ScriptedGrounder(*scripts)
    grounder.llm.marks = {number: mark * ROWS for number, mark in marks.items()}
    return grounder


def fed(grounder):
    """Passes that ran a prefix, as rows of the pass, and how many positions were run in all."""
    long = [rows for rows, new in grounder.llm.passes if new >= ROWS]
    return long, sum(rows * new for rows, new in grounder.llm.passes)


SCRIPTS = [[10] * 9, GROUNDED, [11, 10], [10, 12] * 5, GROUNDED, []]


@pytest.mark.parametrize("batch_size", [2, 3, 6])
def test_a_prefix_is_run_once(batch_size, monkeypatch):
    """For rows that come together and for rows that come later, while another with the prefix runs and when none does."""
    monkeypatch.setattr(pass_groups, "PASS", 0)  # no other row is padded to one with a prefix
    marks = dict.fromkeys(range(6), 7)
    grounder = grounder_for(SCRIPTS, marks)
    answers = run(grounder, [shared(number) for number in range(6)], batch_size=batch_size)
    assert fed(grounder)[0] == [1]
    unshared = grounder_for(SCRIPTS, marks)
    expected = run(unshared, [shared(number, share=False) for number in range(6)], batch_size=batch_size)
    assert sum(fed(unshared)[0]) == 6
    for answer, other in zip(answers, expected, strict=True):
        alike(answer, other)
    assert answers[1].text == "dog."


@pytest.mark.parametrize(("marks", "runs"), [([7] * 6, 1), ([7, 7, 3, 3, 7, 7], 3), ([7, 3, 7, 3, 7, 3], 6)])
def test_a_prefix_is_kept_until_its_slot_is_taken(marks, runs):
    """With one row at a time."""
    grounder = grounder_for(SCRIPTS, dict(enumerate(marks)))
    answers = run(grounder, [shared(number, mark) for number, mark in enumerate(marks)], batch_size=1)
    assert len(fed(grounder)[0]) == runs
    assert [answer.text for answer in answers][1:3] == ["dog.", "A dog"]


def test_a_slot_with_the_prefix_is_taken_before_another():
    """The first two end together, and each slot goes on with its image."""
    marks = {0: 7, 1: 3, 2: 3, 3: 7}
    grounder = grounder_for([[10], [10], GROUNDED, GROUNDED], marks)
    answers = run(grounder, [shared(number, mark) for number, mark in marks.items()], batch_size=2)
    assert fed(grounder)[0] == [2] and answers[2].text == answers[3].text == "dog."


def test_a_slot_is_not_read_after_another_prompt_took_it():
    """The prompt in between has no prefix, and is as long as one."""
    grounder = grounder_for([[10], [10], GROUNDED], {0: 7, 2: 7})
    answers = run(grounder, [shared(0), request(1, length=ROWS + 2), shared(2)], batch_size=1)
    assert len(fed(grounder)[0]) == 3 and answers[2].text == "dog."


def test_a_row_alone_takes_the_prefix_of_a_row_that_runs():
    """The first one has nobody to share with yet, and is run in one pass."""
    grounder = grounder_for([[10] * 6, [], GROUNDED], {0: 7, 2: 7})
    requests = [shared(0), request(1), shared(2)]
    answers = run(grounder, requests, batch_size=2)
    long, _ = fed(grounder)
    assert long == [2], "the pass of the first two; the third brings no more than its own rows"
    assert answers[2].text == "dog."


def test_prefixes_of_several_images_are_not_mixed_up():
    marks = {0: 7, 1: 3, 2: 7, 3: 3, 4: 0, 5: 3}
    scripts = [[10] * 3, GROUNDED, GROUNDED, [11, 10], [10], GROUNDED]
    requests = [shared(number, mark) if mark else request(number) for number, mark in marks.items()]
    for batch_size in (2, 3, 4, 6):
        grounder = grounder_for(scripts, marks)
        answers = run(grounder, requests, batch_size=batch_size)
        assert [answer.text for answer in answers] == ["dogdogdog", "dog.", "dog.", "A dog", "dog", "dog."]
    assert grounder.llm.passes[0] == (2, ROWS), "both at once"


def test_a_slot_is_not_read_while_another_prefix_takes_it():
    """The last three come together; the first of them takes the slot that holds the prefix of the last."""
    marks = {2: 3, 3: 5, 4: 5, 5: 3}
    grounder = grounder_for([[10], [10], [10], GROUNDED, GROUNDED, GROUNDED], marks)
    requests = [request(0), request(1), *(shared(number, mark) for number, mark in marks.items())]
    answers = run(grounder, requests, batch_size=3)
    assert [answer.text for answer in answers[3:]] == ["dog."] * 3


@pytest.mark.parametrize("closed", [False, True])
def test_forced_tokens_after_a_prefix(closed):
    forced = tuple(GROUNDED[:-1])
    scripts = [GROUNDED] * 3
    requests = [shared(number, forced_ids=forced, closed=closed) for number in range(3)]
    grounder = grounder_for(scripts, dict.fromkeys(range(3), 7))
    answers = run(grounder, requests)
    assert grounder.llm.passes[0] == (1, ROWS)
    for number, answer in enumerate(answers):
        alone = grounder_for(scripts, {number: 7})
        (expected,) = run(alone, [shared(number, share=False, forced_ids=forced, closed=closed)])
        alike(answer, expected)
        assert answer.spans[0].refined and answer.text == ("dog" if closed else "dog.")


# --- with the real model ----------------------------------------------------------------------------------------------


@pytest.fixture
def records(tmp_path):
    """Three questions about one image, one about another, and two of text only."""
    first = refer_record(tmp_path, "a", ["cup", "red cup on the left"], 40, 64)
    return [
        first,
        refer_record(tmp_path, "b", ["dog"], 64, 50),
        refer_record(tmp_path, "a", ["a longer expression"], 40, 64),
        text_record("t", "Is it?"),
        text_record("a", "What colour is it?", image_path=first.image_path),
        text_record("u", "Is it not?"),
        caption_record(tmp_path, "a", "A cat.", ["cat"], 40, 64),
    ]


def unshared(samples):
    return [replace(sample, image_key=None) for sample in samples]


def watch_rows(model):
    """Rows of each pass of the LLM, and images of each pass of the pixel encoder and tiles of the semantic one."""
    seen = {"llm": [], "images": [], "tiles": []}
    decoder = model.llm.causal_lm.get_decoder()
    decoder.register_forward_pre_hook(
        lambda m, args, kwargs: seen["llm"].append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    model.pixel_encoder.backbone.register_forward_pre_hook(lambda m, args: seen["images"].append(len(args[0])))
    model.semantic_encoder.register_forward_pre_hook(lambda m, args: seen["tiles"].append(len(args[0])))
    return seen


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_sharing_changes_no_answer(model, records, batch_size):
    samples = make_samples(records, for_generation=True)
    seen = watch_rows(model)
    answers = model.generator(batch_size=batch_size)(model.requests(**grounding_collate(samples)))
    assert seen["images"] == [2] and seen["tiles"][0] == 2 + 1, "each image once, and the view of the first turn"
    rows = sum(rows * new for rows, new in seen["llm"])
    seen["llm"].clear()
    requests = model.requests(**grounding_collate(unshared(samples)))
    expected = model.generator(batch_size=batch_size)(replace(request, prefix=None) for request in requests)
    assert seen["images"] == [2, 5]
    for answer, other in zip(answers, expected, strict=True):
        alike(answer, other)
    assert sum(len(answer.spans) for answer in answers) >= 3
    if batch_size == 16:
        assert rows < sum(rows * new for rows, new in seen["llm"])


def test_prefixes_are_the_rows_that_prompts_have_in_common(model, records):
    """By brute force over the rows that the LLM is given."""
    samples = make_samples(records, for_generation=True)
    with torch.no_grad():
        requests = list(model.requests(**grounding_collate(samples)))
    groups = {}
    for number, one in enumerate(requests):
        groups.setdefault(one.prefix and one.prefix.key, []).append(number)
    assert groups.pop(None) == [1]
    assert sorted(groups.values()) == [[0, 2, 4, 6], [3, 5]]
    for members in groups.values():
        prompts = [requests[number].embeddings for number in members]
        length = requests[members[0]].prefix.length
        assert all(torch.equal(prompt[:length], prompts[0][:length]) for prompt in prompts)
        shortest = min(map(len, prompts))
        assert length == shortest - 1 or any(not torch.equal(p[length], prompts[0][length]) for p in prompts)


def test_a_prefix_ends_before_the_shortest_prompt_does(model, tmp_path):
    """Equal questions leave a row to be run each."""
    records = [refer_record(tmp_path, "a", ["cup"], 40, 64)] * 2
    with torch.no_grad():
        first, second = model.requests(**make_shared(records))
    assert first.prefix == second.prefix and first.prefix.length == len(first.embeddings) - 1


def make_shared(records):
    return grounding_collate(make_samples(records, for_generation=True))


def test_encodings_share_no_prefixes_with_one_another(tmp_path):
    """Rows of different batches may run together, and the first batch may be gone, with its place in memory taken."""
    batch = make_shared([refer_record(tmp_path, "a", ["cup"], 40, 64)] * 2)["batch"]
    first, second = ({prefix.key for prefix in shared_prefixes(batch, batch.attention_mask)} for _ in range(2))
    assert len(first) == len(second) == 1 and first != second


@torch.no_grad()
def test_batches_may_be_chained(model, tmp_path):
    batches = [[refer_record(tmp_path, name, [label, "dog"]) for label in ("cup", "hat", "x")] for name in "abc"]

    def requests():
        for records in batches:
            yield from model.requests(**make_shared(records))

    seen = watch_rows(model)
    answers = model.generator(batch_size=4).answers(requests())
    next(answers)
    assert len(seen["images"]) <= 3, "a batch is encoded when its first request is taken"
    got = dict(model.generator(batch_size=4).answers(requests()))
    expected = [answer for records in batches for answer in model(**make_shared(records), mode="predict")]
    for number, answer in enumerate(expected):
        alike(got[number], answer)


# --- training ---------------------------------------------------------------------------------------------------------


def test_losses_of_samples_that_share_an_image_are_the_same(model, tmp_path):
    records = [
        refer_record(tmp_path, "a", ["cup", "hat"]),
        text_record("t"),
        refer_record(tmp_path, "b", ["dog"]),
        caption_record(tmp_path, "a", "A cat and a dog.", ["cat", "dog"]),
    ]
    samples = [
        replace(sample, image_key=str(record.image_path)) for sample, record in zip(make_samples(records), records)
    ]
    samples[1] = replace(samples[1], image_key=None)
    seen, losses = watch_rows(model), []
    for given in (samples, unshared(samples)):
        torch.manual_seed(0)
        losses.append(model(**grounding_collate(given), mode="loss"))
    assert seen["images"] == [2, 3]
    for name, loss in losses[0].items():
        torch.testing.assert_close(loss, losses[1][name], atol=1e-4, rtol=1e-4, msg=name)


@torch.no_grad()
def test_samples_may_share_several_images(model, tmp_path):
    samples = [two_image_sample(tmp_path, label) for label in ("cup", "a dog")]
    data = grounding_collate([samples[0], *make_samples([text_record("t")], for_generation=True), samples[1]])
    assert data["batch"].block_sample.tolist() == [0, 0, 2, 2] and data["batch"].block_image.tolist() == [0, 1, 0, 1]
    seen = watch_rows(model)
    answers = model(**data, mode="predict")
    assert seen["images"] == [2]
    for number, sample in ((0, samples[0]), (2, samples[1])):
        (alone,) = model(**grounding_collate(unshared([sample])), mode="predict")
        alike(answers[number], alone)
