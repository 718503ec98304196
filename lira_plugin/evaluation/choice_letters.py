"""Which option an answer names: ScienceQA, MMBench, AI2D and SEED."""

import re
from collections.abc import Sequence

from lira_plugin.structures import LETTERS

_WORD = r"[^\W\u3040-\u9fff]"
"""A character of a word in a language that writes spaces between words: Chinese and Japanese ones are none."""
_ANNOUNCED = r"(?i:answer|option|choice)(?: is|:)?:?\s*[(\[]?"
_OPENING = re.compile(rf"\W*(?:(?i:the )?(?i:correct |right |best )?{_ANNOUNCED})?([A-Za-z])(?=[.):\]]|\s*$)")
"""A letter at the start that a mark or the end follows: ``B.``, ``(b)``, ``B: green``, ``The answer is B``."""
_NAMED = re.compile(rf"\b{_ANNOUNCED}([A-Z])\b")
"""A capital after a word that announces it: ``I think the answer is (B) because ...``."""
_ALONE = re.compile(rf"(?<!{_WORD})(?<!')([A-Z])(?!{_WORD}|')")
"""A capital that is a word of its own."""
_VERDICT = r"(?:is|and|or|because|since|as)\b"
"""Words that follow the letter of an option."""
_MARKS = " .,:;!?\"'()[]。，！？：；"


def reference_letter(answer: str, choices: Sequence[str]) -> str:
    """The option by LIRA's rule.

    A single character stands for itself, whatever it is. Else the first character, where it is an option: ``Because`` is B. Else
    the first option whose text occurs in the answer, with the same capitals. Else the answer as it is, which equals no label. The
    script itself fails at an empty answer; here it names no option.
    """
    text = answer.strip()
    if len(text) <= 1:
        return text
    letters = LETTERS[: len(choices)]
    if text[0] in letters:
        return text[0]
    return next((letter for letter, choice in zip(letters, choices) if choice in text), text)


def choice_letter(answer: str, choices: Sequence[str]) -> str:
    """The option that an answer names in a usual way, ``""`` where it names none or several.

    The first of these that fits:

    1. A letter at the start, alone or before a mark: ``b``, ``(B)``, ``B.``, ``B: green``, ``The answer is B``.
    2. The text of an option and nothing else.
    3. A capital after ``answer``, ``option`` or ``choice``.
    4. One capital as a word of its own. Before a word in small letters ``A`` is an article, and ``I`` a pronoun, but not
       before ``is``, ``and``, ``or``, ``because``, ``since`` and ``as``.
    5. The text of one option in the answer, as whole words. Of options that contain one another the longest counts.

    Texts are compared without regard to capitals. Without choices every letter is an option.
    """
    text = answer.strip()
    letters = LETTERS[: len(choices) or None]
    opening = _OPENING.match(text)
    if opening and opening[1].upper() in letters:
        return opening[1].upper()
    plain = [_plain(choice) for choice in choices]
    said = _plain(text)
    if said and plain.count(said) == 1:
        return letters[plain.index(said)]
    named = {letter for letter in _NAMED.findall(text) if letter in letters}
    if len(named) != 1:
        named = {found[1] for found in _ALONE.finditer(text) if found[1] in letters and not _is_word(text, found)}
    if len(named) == 1:
        return named.pop()
    return "" if named else _by_text(said, plain)


def seed_letter(answer: str) -> str:
    """The first character, as InternVL's calculation for SEED-Bench takes it; ``""`` of an empty answer."""
    return answer.strip()[:1]


def _plain(text: str) -> str:
    """Small letters, single spaces, no marks at the ends."""
    return " ".join(text.casefold().split()).strip(_MARKS)


def _is_word(text: str, found: re.Match[str]) -> bool:
    """Whether a capital is the article ``A`` or the pronoun ``I``: a word in small letters follows, but not one of a verdict."""
    return found[1] in "AI" and re.match(rf"\s+(?!{_VERDICT})[a-z]", text[found.end() :]) is not None


def _by_text(said: str, plain: Sequence[str]) -> str:
    """The letter of the one option, or the longest that contains the others, whose text occurs in the answer."""
    within = {choice for choice in plain if choice and re.search(rf"(?<!{_WORD}){re.escape(choice)}(?!{_WORD})", said)}
    longest = max(within, key=len, default="")
    if not longest or plain.count(longest) > 1 or any(choice not in longest for choice in within):
        return ""
    return LETTERS[plain.index(longest)]
