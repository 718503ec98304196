"""What is true of a question that is answered in words: visual question answering and questions with options."""

import string
from dataclasses import dataclass, replace

LETTERS = string.ascii_uppercase
"""Names of options, in their order."""


@dataclass(frozen=True)
class AnswerTruth:
    """The truth of one question, and what a scorer needs to know of it. What a suite does not have stays empty.

    Args:
        answers: accepted answers of several people (VQAv2, VizWiz, OKVQA, TextVQA: ten as a rule), in any order.
        label: the one right answer, else: the letter of the right option where there are ``choices``, ``yes`` or ``no`` (POPE,
            MME), or a word (GQA, ChartQA). Empty together with ``answers`` where only a server knows it.
        choices: texts of the options A, B, C, ...
        category: the part of the suite that has scores of its own: ``adversarial`` (POPE), ``existence`` (MME), ``human``
            (ChartQA), the type of a question (SEED, from ``1``), ``image`` or ``text`` (ScienceQA), the ability (MMBench).
        group: questions of one group count together where a rule says so: both questions about an image (MME), the turned
            options of one question (MMBench). A question without a group is one of its own.
        question: as the suite has it, without what a prompt adds: for the table that a server scores.

    Raises:
        ValueError: there are more choices than letters, or ``label`` is not the letter of one of them.
    """

    answers: tuple[str, ...] = ()
    label: str = ""
    choices: tuple[str, ...] = ()
    category: str = ""
    group: str = ""
    question: str = ""

    def __post_init__(self) -> None:
        if len(self.choices) > len(LETTERS):
            raise ValueError(f"options are named by a letter, so at most {len(LETTERS)}, got {len(self.choices)}")
        if self.choices and self.label and self.label not in self.letters:
            raise ValueError(f"the label must be the letter of an option, one of {self.letters}, got {self.label!r}")

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the options."""
        return tuple(LETTERS[: len(self.choices)])

    @property
    def is_known(self) -> bool:
        """Whether there is anything to score an answer by."""
        return bool(self.answers or self.label)

    def turned(self, shift: int) -> "AnswerTruth":
        """The question with its options turned: what was the option of index ``shift`` comes first, and the label follows.

        MMBench asks a question once for each shift from 0 to ``len(choices) - 1``; it counts where all answers are right.
        """
        shift %= max(len(self.choices), 1)
        label = self.label
        if self.choices and label:
            label = LETTERS[(LETTERS.index(label) - shift) % len(self.choices)]
        return replace(self, choices=self.choices[shift:] + self.choices[:shift], label=label)
