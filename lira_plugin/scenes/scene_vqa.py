"""Questions about a scene of shapes, with short answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from lira_plugin.scenes.scene_language import (
    CATEGORIES,
    Sentence,
    Thing,
    absent_name,
    matching,
    pick,
    plural,
    with_article,
)

LIST_MARGIN = 0.03
"""Distance between neighbours, as a share of the longer side, from which on objects are listed from left to right."""

QUESTION_COUNTS = (7, 10)
"""How many questions about colours, counts and presence a scene gets: from the first up to, not with, the second."""


@dataclass(frozen=True)
class Question:
    """A question about the scene with its short answer."""

    question: str
    answer: str
    kind: Literal["colour", "count", "presence", "list", "description"]


def question_stream(things: Sequence[Thing], rng: np.random.Generator) -> Iterator[Question]:
    """Questions about colours, counts and presence, without end; they may repeat."""
    while True:
        draw = rng.random()
        if draw < 0.35:
            thing = pick(rng, things)
            for size in ("", thing.size):
                if len(matching(things, thing.category, size=size)) == 1:
                    name = f"{size} {thing.category}".strip()
                    yield Question(f"What color is the {name}?", thing.colour, "colour")
                    break
        elif draw < 0.65:
            thing = pick(rng, things)
            category, colour = (thing.category, "") if rng.random() < 0.7 else ("", thing.colour)
            if category and rng.random() < 0.15:
                category = pick(rng, CATEGORIES)
            name = plural(category) if category else f"{colour} objects"
            count = len(matching(things, category, colour))
            yield Question(f"How many {name} are there?", str(count), "count")
        elif rng.random() < 0.5:
            thing = pick(rng, things)
            yield Question(f"Is there {with_article(f'{thing.colour} {thing.category}')}?", "yes", "presence")
        else:
            yield Question(f"Is there {with_article(absent_name(things, rng))}?", "no", "presence")


def _list(things: Sequence[Thing], margin: float) -> list[Question]:
    """The objects from left to right; no question where their order is hard to judge."""
    ordered = sorted(things, key=lambda thing: thing.centre[0])
    if any(right.centre[0] - left.centre[0] < margin for left, right in pairwise(ordered)):
        return []
    names = ", ".join(f"{thing.size} {thing.colour} {thing.category}" for thing in ordered)
    return [Question("List the objects from left to right.", names, "list")]


def _descriptions(
    things: Sequence[Thing], sentences: Sequence[Sequence[Sentence]], rng: np.random.Generator
) -> list[Question]:
    """A question for what one sentence about each object leaves out of its size, colour and category.

    The answer starts with the words that the sentence has: what is asked for by its category is found by its category.
    """
    questions = []
    for thing, known in zip(things, sentences):
        words = (thing.size, thing.colour, thing.category)
        partial = [sentence.text for sentence in known if not set(words) <= set(sentence.text.split())]
        if partial:
            text = pick(rng, partial)
            said = [word for word in text.split() if word in words]
            answer = list(dict.fromkeys([*said, *words]))[: len(words)]
            questions.append(Question(f"What is the {text}?", " ".join(answer), "description"))
    return [questions[position] for position in rng.permutation(len(questions))]


def ask(
    things: Sequence[Thing], sentences: Sequence[Sequence[Sentence]], side: int, rng: np.random.Generator
) -> tuple[Question, ...]:
    """Seven to nine different questions about colours, counts and presence, mostly one for a list, and descriptions.

    Args:
        things: the objects.
        sentences: of each object, as :func:`refer` gives them; one of each is asked about.
        side: longer side of the image, which scales the margins.
        rng: makes the choices.
    """
    count = int(rng.integers(*QUESTION_COUNTS))
    questions: dict[str, Question] = {}
    for question in question_stream(things, rng):
        questions.setdefault(question.question, question)
        if len(questions) == count:
            break
    return (*_list(things, LIST_MARGIN * side), *_descriptions(things, sentences, rng), *questions.values())
