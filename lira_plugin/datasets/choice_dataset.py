"""The base of the readers of multiple-choice questions."""

from collections.abc import Sequence

from lira_plugin.datasets.answer_dataset import AnswerDataset
from lira_plugin.datasets.entries import check_text
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.structures import LETTERS, AnswerTruth, ExifRule, FaultKind, Record, shown
from lira_plugin.structures.question_prompts import choice_question

ASK_AS = ("choices", "question")
"""With the choices and their letters, as the official prompts do; or the question alone, to be answered in a choice's words."""


class ChoiceDataset(AnswerDataset):
    """Base of the readers of multiple-choice questions: a subclass reads one file format.

    Args:
        source: name of the data set and split; metrics group by it.
        ask_as: one of :data:`ASK_AS`.
        pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        ValueError: ``ask_as`` is unknown; and as :class:`~lira_plugin.datasets.AnswerDataset`.
    """

    def __init__(
        self,
        source: str,
        ask_as: str = "choices",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, "plain", pipeline, first, on_bad_record, exif)
        if ask_as not in ASK_AS:
            raise ValueError(f"{source}: ask_as must be one of {list(ASK_AS)}, got {ask_as!r}")
        self.ask_as = ask_as
        if ask_as == "choices":
            self.protocol["prompt"] = choice_question("{question}", ["{choice}"], "{hint}")

    def ask_choice(self, record_id: str, image: str | None, truth: AnswerTruth, context: str = "") -> Record:
        """A record of one question.

        Args:
            record_id: unique in the data set.
            image: path of the image, or None.
            truth: with ``question`` and ``choices``, and ``label``, a letter, where it is known.
            context: what helps to answer it; comes first.

        Raises:
            BadRecord: a text is no Unicode, the question is blank or holds a placeholder, or there are no choices.
        """
        if not truth.choices or not all(choice.strip() for choice in truth.choices):
            raise BadRecord(
                "a choice is blank, or there is none", f"got {shown(list(truth.choices))}", FaultKind.EMPTY_TEXT
            )
        for name, text in (
            ("the hint", context),
            ("the category", truth.category),
            *(("a choice", choice) for choice in truth.choices),
        ):
            try:
                check_text(name, text)
            except ValueError as error:
                raise BadRecord(str(error)) from None
        question = truth.question.strip()
        if not question:
            raise BadRecord("the question is blank", repr(truth.question), FaultKind.EMPTY_TEXT)
        if self.ask_as == "question":
            answer = truth.choices[LETTERS.index(truth.label)] if truth.label else ""
            return self.ask(record_id, image, question, truth, answer)
        return self.ask(record_id, image, choice_question(question, truth.choices, context.strip()), truth, truth.label)


def choice_truth(
    question: str, choices: Sequence[str], answer: int | None, category: str = "", group: str = ""
) -> AnswerTruth:
    """The truth of a question whose answer is the index of a choice, from 0; None where only a server knows it.

    Raises:
        BadRecord: there is no such choice, or there are more choices than letters.
    """
    if len(choices) > len(LETTERS):
        raise BadRecord("there are more choices than letters", f"got {len(choices)}")
    if answer is not None and not 0 <= answer < len(choices):
        raise BadRecord(f"the answer is none of the choices, which count from 0 to {len(choices) - 1}", repr(answer))
    label = "" if answer is None else LETTERS[answer]
    return AnswerTruth(label=label, choices=tuple(choices), category=category, group=group, question=question)


def choice_index(answer: str | int | None) -> int | None:
    """The index of the choice that an answer names by its index, from 0, or its letter; None where it is blank or not known.

    Raises:
        BadRecord: it is neither.
    """
    if answer is None or isinstance(answer, int):
        return answer
    if not answer.strip():
        return None
    letter = answer.strip().upper()
    if len(letter) != 1 or letter not in LETTERS:
        raise BadRecord("the answer to a question with choices must be an index or a letter", repr(answer))
    return LETTERS.index(letter)
