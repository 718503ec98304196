"""Questions that are answered by yes or no: POPE's figures, MME's accuracy and accuracy+, and the pairs of AttrEval."""

import re
from collections.abc import Sequence
from typing import NamedTuple

MME_PARTS = {
    "perception": (
        "existence",
        "count",
        "position",
        "color",
        "posters",
        "celebrity",
        "scene",
        "landmark",
        "artwork",
        "OCR",
    ),
    "cognition": ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
}
"""The categories of MME, of whose scores perception and cognition are the sums."""


class YesNo(NamedTuple):
    """One question: what was said and what is right, ``yes`` or ``no`` (MME: what was said may be neither, ``other``)."""

    said: str
    label: str
    group: str = ""
    """MME: the image; both of its questions count together. AttrEval: the pair."""


def pope_verdict(answer: str) -> str:
    """``no`` where the first sentence has one of the words ``No``, ``no`` and ``not``, else ``yes``.

    The official rule: the sentence ends at the first period, commas go, and spaces divide words. So ``no!``, ``NO`` and an empty
    answer are ``yes``.
    """
    words = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def mme_verdict(answer: str) -> str:
    """``yes`` or ``no``, whichever the first four characters hold, in small letters (``yes`` before ``no``); else ``other``."""
    opening = answer.strip().lower()[:4]
    return next((verdict for verdict in ("yes", "no") if verdict in opening), "other")


def first_verdict(answer: str) -> str:
    """``yes`` or ``no``, whichever word comes first, in whatever case and between whatever signs; else ``other``."""
    found = re.search(r"\b(yes|no)\b", answer.lower())
    return found.group(1) if found else "other"


def count_pairs(groups: Sequence[str]) -> list[tuple[int, int]]:
    """The indices of each pair: answers of one group, or, where none has a group, those with the indices 2i and 2i + 1.

    Args:
        groups: of the answers in their order, ``""`` for none.

    Raises:
        ValueError: a group has not two answers, some answers have none, or there is an odd count of answers without groups.
    """
    if not any(groups):
        if len(groups) % 2:
            raise ValueError(
                f"AttrEval's questions come in pairs, line 2i and 2i + 1, but there are {len(groups)} answers"
            )
        return [(index, index + 1) for index in range(0, len(groups), 2)]
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    for group, indices in members.items():
        if not group or len(indices) != 2:
            name = f"the group {group!r}" if group else "no group"
            raise ValueError(
                f"AttrEval's questions come in pairs, but {len(indices)} answers have {name}: both must share one"
            )
    return [(first, second) for first, second in members.values()]


def yes_no_figures(answers: Sequence[YesNo]) -> dict[str, float]:
    """``accuracy``, ``precision``, ``recall``, ``F1`` of the answer yes, and ``yes_share``, the share of answers that are yes.

    Precision is 0 where no answer is yes, recall where none should be, and F1 where both are 0: POPE's script divides by zero.

    Raises:
        ValueError: there is no answer.
    """
    if not answers:
        raise ValueError("there is no answer to score")
    said_yes = sum(answer.said == "yes" for answer in answers)
    true_yes = sum(answer.label == "yes" for answer in answers)
    both_yes = sum(answer.said == answer.label == "yes" for answer in answers)
    return {
        "accuracy": sum(answer.said == answer.label for answer in answers) / len(answers),
        "precision": both_yes / said_yes if said_yes else 0.0,
        "recall": both_yes / true_yes if true_yes else 0.0,
        "F1": 2 * both_yes / (said_yes + true_yes) if said_yes + true_yes else 0.0,
        "yes_share": said_yes / len(answers),
    }


def mme_figures(answers: Sequence[YesNo]) -> dict[str, float]:
    """``accuracy`` of questions, ``accuracy_plus`` of images (all questions of one right), and ``score``, 100 times their sum.

    Raises:
        ValueError: there is no answer, or an image has not two questions.
    """
    if not answers:
        raise ValueError("there is no answer to score")
    images: dict[str, list[bool]] = {}
    for answer in answers:
        images.setdefault(answer.group, []).append(answer.said == answer.label)
    if wrong := [group for group, right in images.items() if len(right) != 2]:
        raise ValueError(
            f"MME asks two questions about each image of a category, but there are {len(images[wrong[0]])} of the group "
            f"{wrong[0]!r}; the group of a question must be its image"
        )
    accuracy = sum(answer.said == answer.label for answer in answers) / len(answers)
    accuracy_plus = sum(all(right) for right in images.values()) / len(images)
    return {"accuracy": accuracy, "accuracy_plus": accuracy_plus, "score": 100 * (accuracy + accuracy_plus)}
