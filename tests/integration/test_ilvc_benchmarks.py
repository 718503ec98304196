"""The benchmarks of scenes with fine detail: what a part sees, the table and the picture."""

import importlib.util

import numpy as np
import pytest
from support.paths import ROOT

from lira_plugin.evaluation.yes_no_scores import YesNo
from lira_plugin.scenes.mark_metric import MarkResult
from lira_plugin.scenes.mark_scores import MarkedObject, PhraseMark
from lira_plugin.scenes.scene_marks import make_marked_scene
from lira_plugin.structures import encode_mask, region_view


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_probe_cuts_each_object_out_of_what_each_part_sees():
    probe = load("detail_probe")
    for seed in (0, 1, 2):  # of different shapes of the image
        scene = make_marked_scene(np.random.default_rng(seed), "even").scene
        seen = probe.sights(scene)
        for index, thing in enumerate(scene.objects):
            assert (seen["view"][index] == region_view(scene.image, thing.mask, 64)).all()
            whole = scene.image[thing.mask].reshape(-1, 3).mean(0)
            for name in ("image", "tiles"):
                crop = seen[name][index]
                assert crop.shape == (64, 64, 3)
                distance = np.abs(crop.astype(float) - whole).mean(2)
                assert (distance < 30).mean() > 0.15, "the object's colour fills a part of its crop"


def test_the_table_has_the_mean_over_seeds_and_its_interval():
    table = load("ilvc")
    rng = np.random.default_rng(0)
    models, shares = [], []
    for _ in range(2):
        results = [
            MarkResult("captions", str(image), (PhraseMark("dots", "dots" if right else "bars"),))
            for image, right in enumerate(rng.random(40) < 0.7)
        ]
        shares.append(np.mean([result.phrases[0].true == "dots" for result in results]))
        models.append(table.by_image(results))
    value, low, high = table.intervals(models, 60)["captions/right"]
    assert value == pytest.approx(np.mean(shares)) and low < value < high
    answers = table.by_image([MarkResult("questions", "a", (), YesNo("no", "no", "dots"))])
    assert table.mean_figures([answers], ["a", "a"])["questions/accuracy"] == 1


def test_the_picture_marks_false_phrases_alone():
    picture = load("ilvc_picture")
    masks = np.zeros((2, 10, 20), bool)
    masks[0, 2:8, 1:8], masks[1, 2:8, 11:18] = True, True
    things = [
        MarkedObject(frozenset({"red", "ring"}), mark, encode_mask(mask), (10, 20))
        for mark, mask in zip(("dots", ""), masks)
    ]
    phrases = ("a red ring with dots", "a red ring with bars")
    spans = [
        {"start": 10 * index, "end": 10 * index + 5, "phrase": phrase, "segmentation": encode_mask(mask)}
        for index, (phrase, mask) in enumerate(zip(phrases, masks))
    ]
    assert picture.false_spans({"spans": spans}, things) == [(10, 15)]
    assert picture.finds_all({"spans": spans}, things)
    assert not picture.finds_all({"spans": [spans[0], spans[0]]}, things)
    assert not picture.finds_all({"spans": spans[:1]}, things)
