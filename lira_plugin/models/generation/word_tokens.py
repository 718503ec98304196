"""Words as tokens: what a language model would have to write behind a ``<seg>`` to say them.

A word has several forms. Behind a ``<seg>`` a text may go on with a space or without one, and most tokenizers have tokens of
their own for the starts of words: ``▁red`` and ``red`` (sentencepiece), ``Ġred`` and ``red`` (byte-level BPE). Both count.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from lira_plugin.settings import WrongSetting, refuse_type
from lira_plugin.structures import ATTRIBUTE_KINDS, load_lexicon
from lira_plugin.tokens import TextEncoder

Tokens = tuple[int, ...]
WordRule = Literal["first", "whole"]
"""Which tokens of a word count: those up to the first that tells it from the other values of its set, or all of them."""
WORD_RULES: tuple[WordRule, ...] = ("first", "whole")
WordSet = Sequence[str] | Mapping[str, str] | None
"""Words of one kind of attribute: each is a value of its own, or has the value that it is mapped to. None stands for the values
of this package's lexicon of the kind."""


def words_by_value(kind: str, words: WordSet) -> dict[str, list[str]]:
    """The words of each value, in the order in which the values come first.

    Raises:
        WrongSetting: the words are neither a list nor a mapping of texts, or there is none, or no lexicon of the kind.
    """
    if words is None:
        if kind not in ATTRIBUTE_KINDS:
            raise WrongSetting(f"there is no lexicon of {kind!r}, only of {', '.join(ATTRIBUTE_KINDS)}: give its words")
        words = load_lexicon(kind).values
    refuse_type(f"the words of {kind!r}", words, Sequence | Mapping)
    pairs = words.items() if isinstance(words, Mapping) else [(word, word) for word in words]
    found: dict[str, list[str]] = {}
    for word, value in pairs:
        if not all(isinstance(text, str) and text.strip() for text in (word, value)):
            raise WrongSetting(
                f"the words of {kind!r} must be texts that are not empty, or map such texts to such values; got {word!r}"
                + (f": {value!r}" if isinstance(words, Mapping) else "")
            )
        own = found.setdefault(value.strip(), [])
        if word.strip() not in own:
            own.append(word.strip())
    if not found:
        raise WrongSetting(
            f"there are no words of {kind!r}: give a list such as ['red', 'green'], or leave {kind!r} out"
        )
    return found


def word_forms(encode: TextEncoder, seg_id: int, word: str) -> set[Tokens]:
    """The tokens that say a word behind a ``<seg>``, with a space before it and without one.

    Args:
        encode: of a tokenizer that knows the special tokens.
        seg_id: of ``<seg>``.
        word: one or several words.

    Raises:
        ValueError: the tokenizer does not know the word.
    """
    seg, unknown = encode.tokenizer.convert_ids_to_tokens(seg_id), encode.tokenizer.unk_token_id
    forms = set()
    for text in (f"{seg} {word}", f"{seg}{word}"):
        first, *rest = encode(text, ((len(seg), len(text)),))
        if first != seg_id or not rest or unknown in rest:
            raise ValueError(
                f"the tokenizer cannot write the word {word!r} behind {seg!r} (its tokens are {[first, *rest]}): take it out of "
                "the set"
            )
        forms.add(tuple(rest))
    return forms


def tokens_to_score(forms: Mapping[str, Iterable[Tokens]], rule: WordRule) -> dict[str, list[Tokens]]:
    """The tokens of each value whose probabilities are added up; none of a value begins with another of it.

    Args:
        forms: token sequences by value.
        rule: ``first`` cuts each behind the first token with which no sequence of another value begins alike. Where there is no
            such token, since the other begins with all of it (``orange``, ``orange juice``), it stays whole.
    """
    kept = {}
    for value, own in forms.items():
        others = [form for other, theirs in forms.items() if other != value for form in theirs]
        cut = {_distinct_start(form, others) if rule == "first" else tuple(form) for form in own}
        kept[value] = sorted(form for form in cut if not any(_extends(form, other) for other in cut))
    return kept


def _distinct_start(form: Tokens, others: Sequence[Tokens]) -> Tokens:
    for length in range(1, len(form)):
        if not any(other[:length] == form[:length] for other in others):
            return tuple(form[:length])
    return tuple(form)


def _extends(form: Tokens, other: Tokens) -> bool:
    return len(form) > len(other) and form[: len(other)] == other
