"""The special tokens of interleaved grounding: the only place that knows their spelling and ids."""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.utils import get_object_from_string

from lira_plugin.settings import parameters_of, refuse_unknown

_BRACKETS = "<>[](){}|"
_KNOWN_TEXTS = 4096
"""Texts whose tokens are kept at most."""

Stretches = tuple[tuple[int, int], ...]
"""Characters ``[start, end)`` of a text, in order."""


class SpecialTokenIds(NamedTuple):
    """Vocabulary ids of the special tokens in one tokenizer."""

    seg: int
    image_id: int
    phrase_start: int
    phrase_end: int


@dataclass(frozen=True)
class SpecialTokens:
    """Spelling of the special tokens, and whether a vocabulary may lack them.

    Args:
        seg: its hidden state is decoded to a mask. The released checkpoints spell it ``[SEG]``.
        image_id: the tokens of the region just segmented follow it.
        phrase_start: opens the phrase of a region.
        phrase_end: closes it.
        reserved: tokens that a published vocabulary holds between ``phrase_end`` and ``image_id`` and that are not used
            here (LIRA's ``<region>`` and ``<mark>``, ``omg_llava/model/lira.py``).
        add_missing: add tokens that the vocabulary lacks, with a warning: right where a recipe introduces them to an LLM
            and trains them. False makes a missing token an error: right where they have been learnt already, as a finished
            fine-tune with its own tokenizer, in which another spelling would get a token that nobody trained.
    """

    seg: str = "<seg>"
    image_id: str = "<image_id>"
    phrase_start: str = "<p>"
    phrase_end: str = "</p>"
    reserved: tuple[str, ...] = ()
    add_missing: bool = True

    @property
    def spelling(self) -> tuple[str, str, str, str]:
        """The tokens that are used, in the order of :class:`SpecialTokenIds`."""
        return (self.seg, self.image_id, self.phrase_start, self.phrase_end)

    @property
    def in_order(self) -> tuple[str, ...]:
        """All tokens in the order in which LIRA adds them to a vocabulary."""
        return (self.seg, self.phrase_start, self.phrase_end, *self.reserved, self.image_id)

    def add_to(self, tokenizer: Any) -> int:
        """Add the tokens that ``tokenizer`` does not have; return how many were added."""
        return tokenizer.add_tokens(list(self.in_order), special_tokens=True)

    def missing_from(self, tokenizer: Any) -> tuple[str, ...]:
        """The tokens that the vocabulary of ``tokenizer`` lacks, in order."""
        vocabulary = tokenizer.get_vocab()
        return tuple(token for token in self.in_order if token not in vocabulary)

    def resolve(self, tokenizer: Any, embedding_size: int | None = None) -> SpecialTokenIds:
        """Look the ids up and check them.

        Args:
            tokenizer: a Hugging Face tokenizer.
            embedding_size: rows of the model's input embedding, when there is a model to check against.

        Raises:
            ValueError: a token is unknown, shares its id with any other, is split by the tokenizer, or lies outside the
                embedding.
        """
        names = {
            "seg": self.seg,
            "image_id": self.image_id,
            "phrase_start": self.phrase_start,
            "phrase_end": self.phrase_end,
        }
        ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
        for name, token in names.items():
            if ids[name] is None or ids[name] == tokenizer.unk_token_id:
                raise ValueError(
                    f"special token {token!r} ({name}) is not in the vocabulary of the tokenizer {_name(tokenizer)}: call "
                    "SpecialTokens.add_to(tokenizer) first, or give the spelling that this checkpoint uses"
                )
            pieces = tokenizer(token, add_special_tokens=False)["input_ids"]
            if pieces != [ids[name]]:
                raise ValueError(
                    f"special token {token!r} ({name}) is split by the tokenizer into ids {pieces}, expected the single "
                    f"id {ids[name]}: add it with special_tokens=True"
                )
            if embedding_size is not None and ids[name] >= embedding_size:
                raise ValueError(
                    f"special token {token!r} ({name}) has id {ids[name]} but the model embeds only {embedding_size} "
                    "ids: resize the embedding to vocabulary_rows(tokenizer)"
                )
        if len(set(ids.values())) != len(ids):
            raise ValueError(f"special tokens must have distinct ids, got {ids} for {names}")
        owners = {*names.values()}
        for token, index in tokenizer.get_vocab().items():
            if index in ids.values() and token not in owners:  # given away by tokenizers where ids have gaps
                raise ValueError(
                    f"special tokens must have ids of their own, but {index} is that of {token!r} too: the vocabulary has "
                    "gaps; add the special tokens to the tokenizer's files, behind its last id"
                )
        return SpecialTokenIds(**ids)


class TextEncoder:
    """From text to token ids: the one place that decides what a control token in somebody's text is.

    Control tokens are the special tokens of a tokenizer: ends of turns, ``<seg>``, placeholders of images. Templates and
    grounded phrases write them. What people and data files write is text: where it spells a control token, the letters are
    tokenized as any others, in training and in generation. A text without one is tokenized as a whole, as the tokenizer does.

    Args:
        tokenizer: a Hugging Face tokenizer that knows the special tokens.
        further: tokens that are control tokens even where the tokenizer does not call them special.
    """

    def __init__(self, tokenizer: Any, further: Iterable[str] = ()) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self.control = {token.content: index for index, token in added.items() if token.special and token.content}
        self.control |= {token: tokenizer.convert_tokens_to_ids(token) for token in further}
        longest_first = sorted(self.control, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._known: dict[tuple[str, Stretches], list[int]] = {}

    def __call__(self, text: str, users: Stretches = ()) -> list[int]:
        """Token ids of a text, of which people have written the stretches ``users``; frequent texts are tokenized once.

        Raises:
            ValueError: the tokenizer cannot spell a control token in letters.
        """
        key = text, users
        if key not in self._known:
            if len(self._known) == _KNOWN_TEXTS:
                self._known.clear()
            spelt = self.spelt_by(text, users)
            self._known[key] = self._with_spelt(text, users, spelt) if spelt else self._plain(text)
        return self._known[key]

    def spelt_by(self, text: str, users: Stretches) -> list[str]:
        """The control tokens that people have spelt."""
        if not any(start < end for start, end in users):
            return []
        return [match.group() for match in self._pattern.finditer(text) if _touches(match, users)]

    def _plain(self, text: str, **settings: Any) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, **settings)["input_ids"]

    def _with_spelt(self, text: str, users: Stretches, spelt: list[str]) -> list[int]:
        """Tokenize the text between the control tokens of the template, in which those of people are letters."""
        ids: list[int] = []
        start = 0
        for match in [*self._pattern.finditer(text), None]:
            if match is not None and _touches(match, users):
                continue
            between = text[start : None if match is None else match.start()]
            letters = self._plain(between, split_special_tokens=True) if between else []
            if left := [token for token in spelt if self.control[token] in letters]:
                raise ValueError(
                    f"the control token {left[0]!r} is spelt in {between!r:.80}, and the tokenizer {_name(self.tokenizer)} "
                    "cannot write it in letters: take it out of the text"
                )
            ids += letters
            if match is not None:
                ids.append(self.control[match.group()])
                start = match.end()
        return ids


def _touches(match: re.Match, users: Stretches) -> bool:
    return any(match.start() < end and start < match.end() for start, end in users)


def seg_positions(tokens: Any, seg_id: int) -> Any:
    """Where the states of ``<seg>`` are: a mask over a tensor of tokens, the labels in training, and what is written otherwise.

    The state of a ``<seg>`` is the one at the position of the token itself (``omg_llava/model/lira.py:786``). A ``<seg>`` in a
    question is no label, hence not asked for.
    """
    return tokens == seg_id


def add_missing(tokenizer: Any, tokens: Iterable[str]) -> tuple[str, ...]:
    """Add special tokens that ``tokenizer`` lacks, and give these; those it has stay as they are."""
    vocabulary = tokenizer.get_vocab()
    missing = tuple(dict.fromkeys(token for token in tokens if token not in vocabulary))
    tokenizer.add_tokens(list(missing), special_tokens=True)
    return missing


def single_token_id(tokenizer: Any, token: str, setting: str) -> int:
    """The id of a token that the tokenizer must know.

    Raises:
        ValueError: it does not; the message names the ``setting`` to change.
    """
    ids = tokenizer(token, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(f"{token!r} is not one token of the tokenizer {_name(tokenizer)}: change {setting}")
    return ids[0]


def vocabulary_rows(tokenizer: Any) -> int:
    """How many rows an embedding needs for all ids, which may have gaps."""
    return max(tokenizer.get_vocab().values()) + 1


def build_tokenizer(tokenizer: Mapping[str, Any]) -> Any:
    """Build a Hugging Face tokenizer from its config.

    Args:
        tokenizer: such as ``dict(type=AutoTokenizer.from_pretrained, pretrained_model_name_or_path=...)``. A recipe that
            MMEngine has written into a work dir spells the type as a dotted path. ``made_by`` is the command that makes its
            folder, to be said where that is missing.

    Raises:
        ImportError: the dotted path names nothing.
        FileNotFoundError: the folder that ``made_by`` makes is missing.
    """
    arguments = dict(tokenizer)
    made_by, path = arguments.pop("made_by", None), arguments.get("pretrained_model_name_or_path")
    if made_by and not os.path.isdir(str(path)):
        raise FileNotFoundError(
            f"no tokenizer at {path} (docs/troubleshooting.md#no-tokenizer); make it with:\n    {made_by}"
        )
    make = arguments.pop("type")
    if isinstance(make, str) and (make := get_object_from_string(name := make)) is None:
        raise ImportError(f"the type of the tokenizer, {name!r}, cannot be imported")
    return make(**arguments)


class LoadedTokenizer(NamedTuple):
    """A tokenizer that knows the special tokens."""

    tokenizer: Any
    ids: SpecialTokenIds
    first_new: int | None
    """Least id of those that were added; None where it knew all."""


def as_special_tokens(given: Any) -> Any:
    """The spelling, of which the arguments may be given; anything but a dict stays what it is.

    Raises:
        WrongSetting: an argument is unknown.
    """
    if not isinstance(given, Mapping):
        return given
    refuse_unknown(given, parameters_of(SpecialTokens)[0], "special_tokens")
    return SpecialTokens(**given)


def load_tokenizer(tokenizer: Any, special_tokens: SpecialTokens | dict | None = None) -> LoadedTokenizer:
    """Give a tokenizer that knows the special tokens, and their ids.

    Args:
        tokenizer: a Hugging Face tokenizer, or the config of one (:func:`build_tokenizer`).
        special_tokens: spelling, or its arguments.

    Raises:
        ValueError: a token is missing and ``add_missing`` is False, or see :meth:`SpecialTokens.resolve`.
        ImportError: the dotted path names nothing.
    """
    if isinstance(tokenizer, dict):
        tokenizer = build_tokenizer(tokenizer)
    spelling: SpecialTokens = as_special_tokens(special_tokens or {})
    missing = spelling.missing_from(tokenizer)
    if missing and not spelling.add_missing:
        raise ValueError(
            f"the tokenizer {_name(tokenizer)} lacks the special tokens {_with_alternatives(missing, tokenizer)}: give "
            "the spelling of this checkpoint in special_tokens, or add_missing=True where they are yet to be trained "
            "(docs/troubleshooting.md#special-token-is-missing)"
        )
    spelling.add_to(tokenizer)
    ids = spelling.resolve(tokenizer)
    if missing:
        print_log(
            f"added the special tokens {_with_alternatives(missing, tokenizer)} to the tokenizer {_name(tokenizer)}: "
            "they mean nothing before they are trained",
            logger="current",
            level=logging.WARNING,
        )
    new = [tokenizer.convert_tokens_to_ids(token) for token in missing]
    return LoadedTokenizer(tokenizer, ids, min(new, default=None))


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__


def _listed(tokens: Iterable[str]) -> str:
    return ", ".join(map(repr, tokens))


def _with_alternatives(missing: Iterable[str], tokenizer: Any) -> str:
    """The missing tokens, and in brackets what the vocabulary may call them."""
    vocabulary = tokenizer.get_vocab()
    found = [(token, others) for token in missing if (others := _look_alikes(token, vocabulary))]
    named = [f"for {token!r} its vocabulary has {_listed(others)}" for token, others in found]
    return _listed(missing) + (f" ({'; '.join(named)})" if named else "")


def _look_alikes(token: str, vocabulary: Iterable[str]) -> list[str]:
    """Tokens in brackets that say the same word in other letters or brackets, such as ``[SEG]`` for ``<seg>``."""
    word = _word(token)
    return sorted(other for other in vocabulary if _word(other) == word and other[-1:] in _BRACKETS and other != token)


def _word(token: str) -> str:
    return token.strip(_BRACKETS).casefold()
