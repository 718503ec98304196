"""Questions about scenes in the layouts of VQAv2, GQA, POPE, ScienceQA and MMBench."""

import base64
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from lira_plugin.evaluation.coco_objects import CocoObjects
from lira_plugin.evaluation.object_questions import ABSENT_KINDS, AbsentKind, object_questions
from lira_plugin.evaluation.object_words import names_as_words
from lira_plugin.scenes.scene_drawing import Scene
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS, pick, with_article
from lira_plugin.scenes.scene_vqa import Question, question_stream

SUITE_ANNOTATIONS = (
    "vqav2/questions.json",
    "vqav2/annotations.json",
    "gqa/questions.json",
    *(f"pope/coco_pope_{kind}.json" for kind in ABSENT_KINDS),
    "scienceqa/problems.json",
    "scienceqa/pid_splits.json",
    "mmbench/mmbench_dev.tsv",
)
"""Annotation files, relative to the folder of the suites."""

_PEOPLE = 10
_PER_IMAGE = 3
"""POPE's questions with "yes", and as many with "no"; and the questions of each image in VQAv2 and GQA."""
_TURN = 1_000_000
"""MMBench's index of a question whose choices are turned once is larger by this."""
_COUNTS = tuple(map(str, range(7)))
_TEXT_ONLY = (("Is a circle round?", "yes"), ("Is a square round?", "no"))
_COLUMNS = ("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "split")


@dataclass
class SuiteRecords:
    """The questions about the scenes of one split: :meth:`add` a scene after the other, then read :meth:`files`."""

    subtype: str
    """How files of COCO images with these names are called, such as ``train2014``."""
    questions: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    gqa: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Of each image its file and the objects that it shows, such as ``red circle``."""
    problems: dict[str, dict[str, Any]] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)

    def add(self, scene: Scene, image_id: int, name: str, jpeg: bytes, rng: np.random.Generator) -> str | None:
        """Add the questions about a scene.

        Returns:
            The file of ScienceQA that is to hold the image, relative to the suites' folder; None where it asks nothing.
        """
        asked = {question.question: question for question in islice(question_stream(scene.objects, rng), 12)}
        asked = list(asked.values())
        for index, question in enumerate(asked[:_PER_IMAGE]):
            self._add_vqa(question, image_id, index, rng)
        for index, question in enumerate(asked[-_PER_IMAGE:]):
            self._add_gqa(question, name, f"{image_id}{index}", is_balanced=index < 2)
        self.shown.append((name, tuple(dict.fromkeys(f"{thing.colour} {thing.category}" for thing in scene.objects))))
        with_choices = [question for question in asked if question.kind in ("colour", "count")]
        for question in with_choices[:1]:
            self._add_table(question, len(self.shown), base64.b64encode(jpeg).decode(), rng)
        colours = [question for question in asked if question.kind == "colour"]  # the rule takes a digit for a letter
        return self._add_problem(colours[-1], "image.jpg", rng) if colours else None

    def files(self) -> Iterator[tuple[str, bytes | Any]]:
        """Paths relative to the folder of the suites, and what they hold: bytes, or what JSON knows."""
        for question, answer in _TEXT_ONLY:
            self._add_problem(Question(question, answer, "presence"), None, np.random.default_rng(len(self.problems)))
        head = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": self.subtype}
        lines = [pope_lines(self.shown, kind) for kind in ABSENT_KINDS]
        contents = [
            head | {"task_type": "Open-Ended", "questions": self.questions},
            head | {"annotations": self.annotations},
            self.gqa,
            *("".join(json.dumps(line) + "\n" for line in own).encode() for own in lines),
            self.problems,
            {"train": [], "val": [], "test": list(self.problems)},
            self._tsv(),
        ]
        yield from zip(SUITE_ANNOTATIONS, contents, strict=True)

    def _add_vqa(self, question: Question, image_id: int, index: int, rng: np.random.Generator) -> None:
        """A question with the answers of ten people, of whom up to three are wrong."""
        key = {"question_id": image_id * 10 + index, "image_id": image_id}
        self.questions.append(key | {"question": question.question})
        wrong = int(rng.integers(0, 4))
        given = [question.answer] * (_PEOPLE - wrong) + [pick(rng, _options(question)) for _ in range(wrong)]
        answers = [
            {"answer": given[position], "answer_confidence": "yes", "answer_id": turn}
            for turn, position in enumerate(rng.permutation(_PEOPLE).tolist(), 1)
        ]
        kinds = {"presence": "yes/no", "count": "number"}
        self.annotations.append(
            key
            | {
                "question_type": " ".join(question.question.split()[:2]).lower(),
                "answer_type": kinds.get(question.kind, "other"),
                "multiple_choice_answer": question.answer,
                "answers": answers,
            }
        )

    def _add_gqa(self, question: Question, name: str, question_id: str, is_balanced: bool) -> None:
        self.gqa[question_id] = {
            "imageId": name.rpartition(".")[0],
            "question": question.question,
            "answer": question.answer,
            "fullAnswer": f"{question.answer}.",
            "isBalanced": is_balanced,
            "types": {"detailed": question.kind},
        }

    def _add_problem(self, question: Question, image: str | None, rng: np.random.Generator) -> str | None:
        choices, answer = _choices(question, rng)
        pid = str(len(self.problems) + 1)
        self.problems[pid] = {
            "question": question.question,
            "choices": choices,
            "answer": answer,
            "hint": "",
            "image": image,
            "lecture": "",
            "solution": "",
            "split": "test",
        }
        return None if image is None else f"scienceqa/images/test/{pid}/{image}"

    def _add_table(self, question: Question, index: int, image: str, rng: np.random.Generator) -> None:
        """A question once for each of its choices, which are turned each time, as MMBench's circular evaluation asks."""
        choices, answer = _choices(question, rng)
        for turn in range(len(choices)):
            turned = choices[turn:] + choices[:turn]
            self.table.append(
                dict(zip("ABCD", turned))
                | {
                    "index": index + turn * _TURN,
                    "question": question.question,
                    "hint": "",
                    "answer": "ABCD"[turned.index(choices[answer])],
                    "category": question.kind,
                    "image": image,
                    "split": "dev",
                }
            )

    def _tsv(self) -> bytes:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, _COLUMNS, delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(self.table)
        return text.getvalue().encode()


def pope_lines(shown: Sequence[tuple[str, tuple[str, ...]]], kind: AbsentKind) -> list[dict[str, Any]]:
    """POPE's questions, see :func:`~lira_plugin.evaluation.object_questions.object_questions`; of colours with shapes.

    Args:
        shown: of each image its file and the objects that it shows.
        kind: of the absent objects.
    """
    every = [f"{colour} {shape}" for colour in COLOURS for shape in CATEGORIES]
    truth = CocoObjects(names_as_words(every), {image: frozenset(names) for image, names in shown})
    asked = object_questions(truth, list(truth.instances), kind, _PER_IMAGE, unseen=every)
    return [
        {
            "question_id": index,
            "image": question.image_id,
            "text": f"Is there {with_article(question.object)}?",
            "label": question.label,
        }
        for index, question in enumerate(asked, 1)
    ]


def _options(question: Question) -> tuple[str, ...]:
    """What a question of this kind may be answered by."""
    return {"colour": COLOURS, "count": _COUNTS, "presence": ("yes", "no")}[question.kind]


def _choices(question: Question, rng: np.random.Generator) -> tuple[list[str], int]:
    """Up to four choices, and the index of the right one."""
    others = [option for option in _options(question) if option != question.answer]
    drawn = [others[index] for index in rng.permutation(len(others))[: int(rng.integers(2, 4))]]
    choices = [question.answer, *drawn]
    choices = [choices[index] for index in rng.permutation(len(choices))]
    return choices, choices.index(question.answer)
