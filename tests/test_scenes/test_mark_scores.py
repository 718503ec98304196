"""Figures of marks against plain loops, and the metric on answers made by hand."""

import json

import numpy as np
import pytest
import torch

from lira_plugin.evaluation.yes_no_scores import YesNo
from lira_plugin.scenes.detail_files import write_detail_scenes
from lira_plugin.scenes.mark_metric import MarkMetric, mark_summary, read_mark_results, read_marked_objects
from lira_plugin.scenes.mark_scores import (
    MarkedObject,
    PhraseMark,
    judge_answer,
    judge_phrase,
    mark_figures,
    phrase_mark,
)
from lira_plugin.scenes.scene_marks import MARKS, named_mark
from lira_plugin.structures import GroundedSpan, GroundedText, GroundingSample, Region, encode_mask

NAMES = ("", *MARKS)


def thing(words: str, mark: str, left: int) -> MarkedObject:
    mask = np.zeros((20, 40), bool)
    mask[5:15, left : left + 10] = True
    return MarkedObject(frozenset(words.split()), mark, encode_mask(mask), (20, 40))


THINGS = [thing("red circle", "dots", 0), thing("blue circle", "", 20)]


def test_figures_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        phrases = [
            PhraseMark(NAMES[said], None if true == 5 else NAMES[true])
            for said, true in rng.integers(0, (5, 6), (9, 2))
        ]
        right = wrong = missed = known = naming = false = plain = on_plain = 0
        for said, true in phrases:
            if true is None:
                continue
            known += 1
            if said == true:
                right += 1
            elif said:
                wrong += 1
            else:
                missed += 1
            if said:
                naming += 1
                false += said != true
            if true == "":
                plain += 1
                on_plain += said != ""
        expected = {
            "right": right / max(known, 1),
            "hallucinated": wrong / max(known, 1),
            "missed": missed / max(known, 1),
            "false_marks": false / max(naming, 1),
            "on_plain": on_plain / max(plain, 1),
            "lost": (9 - known) / 9,
            "phrases": 9,
        }
        assert mark_figures(phrases) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no phrase"):
        mark_figures([])


def test_a_phrase_is_about_the_object_that_its_mask_overlaps_most():
    mask = THINGS[0].mask
    assert phrase_mark("a red circle with bars", mask, THINGS) == PhraseMark("bars", "dots")
    assert phrase_mark("a blue circle", THINGS[1].mask, THINGS) == PhraseMark("", "")
    narrow = mask & (np.arange(40) < 4)
    assert phrase_mark("dots", narrow, THINGS) == PhraseMark("dots", None)
    assert phrase_mark("dots", np.zeros_like(mask), THINGS) == PhraseMark("dots", None)
    assert phrase_mark("dots", mask, []) == PhraseMark("dots", None)


@pytest.mark.parametrize(
    ("phrase", "mark"),
    [
        ("A red circle with dots", "dots"),
        ("plain ring", ""),
        ("bars, and so on", "bars"),
        ("", ""),
        ("dotted ring", ""),
    ],
)
def test_the_mark_of_a_phrase(phrase, mark):
    assert named_mark(phrase) == mark


@pytest.mark.parametrize(
    ("question", "answer", "said", "label"),
    [
        ("Is there a red circle with dots?", "There is a red circle with dots: yes.", "yes", "yes"),
        ("Is there a red circle with bars?", "There is a red circle with dots: no.", "no", "no"),
        ("Is there a blue circle with dots?", "There is a blue circle with dots: YES", "yes", "no"),
        ("Is there a red square with dots?", "", "other", "no"),
        ("Is there a red circle with dots?", "yes, no, or so", "other", "yes"),
    ],
)
def test_questions_are_judged_by_their_last_word(question, answer, said, label):
    asked = question.rstrip("?").split()[-1]
    judged = judge_answer(question, answer, THINGS)
    assert judged == YesNo(said, label, asked)
    assert judge_phrase(judged, ()).said == "other"
    for mark in NAMES:
        assert judge_phrase(judged, (PhraseMark(mark, "dots"),)) == YesNo(
            "yes" if mark == asked else "no", label, asked
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("detail")
    (root / "plain").mkdir()
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(root / "plain" / "tokenizer.json"))
    (root / "plain" / "tokenizer_config.json").write_text("{}")
    return write_detail_scenes(root / "detail", root / "plain", 1, 2, size=192, progress=False)


def sample(index: int, source: str, image: str, question: str = "", regions: tuple = ()) -> GroundingSample:
    empty = torch.zeros(0, dtype=torch.long)
    return GroundingSample(
        source=source,
        record_id=str(index),
        input_ids=empty,
        labels=empty,
        kinds=empty,
        pixel_images=empty,
        tiles=empty,
        tile_counts=(),
        view_tiles=empty,
        masks=empty,
        mask_labels=empty,
        seg_mask_index=empty,
        image=np.zeros((20, 40, 3), np.uint8),
        regions=regions,
        question=question,
        image_key=image,
        index=index,
    )


def test_the_metric_scores_the_truth_and_lies_and_keeps_each_record(files, tmp_path):
    annotations = files.instances("val")
    objects = read_marked_objects(annotations)
    image, things = next(iter(objects.items()))
    assert [thing.mask.any() for thing in things] == [True] * len(things)
    other = "dots" if things[0].mark != "dots" else "bars"
    spans = tuple(
        GroundedSpan(0, 1, f"x with {thing.mark}" if thing.mark else "x", thing.mask, thing.mask) for thing in things
    )
    lie = GroundedSpan(0, 1, f"x with {other}", things[0].mask, things[0].mask)
    target = Region("x", (encode_mask(things[0].mask),), 0)
    moved = GroundedSpan(0, 1, "x", things[0].mask, things[1].mask)
    question = f"Is there a {' '.join(things[0].words)} with {other}?"
    samples = [
        sample(0, "captions", f"a/{image}"),
        sample(1, "captions", f"a/{image}"),
        sample(2, "questions", image, question),
        sample(3, "sentences", image, regions=(target,)),
        sample(4, "sentences", image, regions=(target,)),
    ]
    for own in samples:
        own.image = np.zeros((*things[0].size, 3), np.uint8)
    answers = [
        GroundedText("", spans),
        GroundedText("", (lie,)),
        GroundedText("There is x: no.", (lie,)),
        GroundedText("x", (moved,)),
        GroundedText("x"),
    ]
    metric = MarkMetric(annotations, out_file=tmp_path / "marks.json")
    metric.process({"data_samples": samples}, answers)
    figures = metric.evaluate(len(samples))
    assert figures["captions/right"] == pytest.approx(len(things) / (len(things) + 1))
    assert figures["captions/hallucinated"] == pytest.approx(1 / (len(things) + 1))
    assert figures["questions/accuracy"] == 1 and figures["questions/hallucinated"] == 1
    assert figures["questions/by_phrase/accuracy"] == 0, "the phrase says that the mark is there"
    assert figures["sentences/refined/P@0.5"] == 0.5 and figures["sentences/coarse/P@0.5"] == 0
    assert mark_summary(read_mark_results(tmp_path / "marks.json")) == figures
    assert json.loads((tmp_path / "marks.json").read_text())["captions/right"] == figures["captions/right"]
    for wrong in (sample(0, "captions", "nowhere.jpg"), sample(0, "vqa", image)):
        with pytest.raises(ValueError, match="nowhere.jpg|'vqa'"):
            metric.score(wrong, answers[0])
