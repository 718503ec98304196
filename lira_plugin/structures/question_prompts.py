"""How questions are asked, to the letter: the end of those with short answers, and the letters of multiple choice.

The words are those of LIRA's evaluation (``internvl/eval``), so that training and evaluation ask alike.
"""

from collections.abc import Callable, Sequence
from functools import partial
from string import ascii_uppercase

SHORT_ANSWER = "Answer the question using a single word or phrase."
UNANSWERABLE = "When the provided information is insufficient, respond with 'unanswerable'."
"""VizWiz's, in training and in testing (supplement, section 1)."""
OPTION_LETTER = "Answer with the option's letter from the given choices directly."


def short_answer_question(question: str, may_be_unanswerable: bool = False) -> str:
    """A question that is answered by a word or phrase, or, where it may be, by ``unanswerable``."""
    parts = [question, UNANSWERABLE, SHORT_ANSWER] if may_be_unanswerable else [question, SHORT_ANSWER]
    return " ".join(parts)


PROMPTS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "short": short_answer_question,
    "unanswerable": partial(short_answer_question, may_be_unanswerable=True),
}
"""How a question is asked, by the names that recipes have: as it is, for a short answer, and VizWiz's way."""


def build_prompt(prompt: str) -> Callable[[str], str]:
    """What makes the text that is asked of a question.

    Args:
        prompt: a name of :data:`PROMPTS`, or a text in which ``{question}`` stands for the question.

    Raises:
        ValueError: it is neither.
    """
    if prompt in PROMPTS:
        return PROMPTS[prompt]
    if not isinstance(prompt, str) or prompt.count("{question}") != 1:
        raise ValueError(f"prompt must be one of {list(PROMPTS)}, or a text with one {{question}}, got {prompt!r}")
    before, after = prompt.split("{question}")
    return lambda question: f"{before}{question}{after}"


def choice_letter(index: int, count: int) -> str:
    """The letter of the choice at ``index``, which counts from 0, of ``count`` choices.

    Raises:
        ValueError: there is no such choice, or there are more choices than letters.
    """
    if count > len(ascii_uppercase):
        raise ValueError(f"at most {len(ascii_uppercase)} choices have letters, got {count}")
    if not 0 <= index < count:
        raise ValueError(f"the answer {index} is none of the choices, which count from 0 to {count - 1}")
    return ascii_uppercase[index]


def choice_question(question: str, choices: Sequence[str], context: str = "") -> str:
    """A multiple-choice question, one choice a line with its letter; what helps to answer it, where there is such, comes first.

    Raises:
        ValueError: there are more choices than letters.
    """
    lines = [f"{choice_letter(index, len(choices))}. {choice}" for index, choice in enumerate(choices)]
    return "\n".join([*([context] if context else []), question, *lines, OPTION_LETTER])
