"""The special tokens of interleaved grounding: the only place that knows their spelling and ids."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from mmengine.utils import get_object_from_string


class SpecialTokenIds(NamedTuple):
    """Vocabulary ids of the special tokens in one tokenizer."""

    seg: int
    image_id: int
    phrase_start: int
    phrase_end: int


@dataclass(frozen=True)
class SpecialTokens:
    """Spelling of the special tokens.

    Args:
        seg: its hidden state is decoded to a mask. The released checkpoints spell it ``[SEG]``.
        image_id: the tokens of the region just segmented follow it.
        phrase_start: opens the phrase of a region.
        phrase_end: closes it.
        reserved: tokens that a published vocabulary holds between ``phrase_end`` and ``image_id`` and that are not used
            here (LIRA's ``<region>`` and ``<mark>``, ``omg_llava/model/lira.py``).
    """

    seg: str = "<seg>"
    image_id: str = "<image_id>"
    phrase_start: str = "<p>"
    phrase_end: str = "</p>"
    reserved: tuple[str, ...] = ()

    @property
    def in_order(self) -> tuple[str, ...]:
        """All tokens in the order in which LIRA adds them to a vocabulary."""
        return (self.seg, self.phrase_start, self.phrase_end, *self.reserved, self.image_id)

    def add_to(self, tokenizer: Any) -> int:
        """Add the tokens that ``tokenizer`` does not have; return how many were added."""
        return tokenizer.add_tokens(list(self.in_order), special_tokens=True)

    def resolve(self, tokenizer: Any, embedding_size: int | None = None) -> SpecialTokenIds:
        """Look the ids up and check them.

        Args:
            tokenizer: a Hugging Face tokenizer.
            embedding_size: rows of the model's input embedding, when there is a model to check against.

        Raises:
            ValueError: a token is unknown, shares its id with another, is split by the tokenizer, or lies outside the
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
                    f"special token {token!r} ({name}) is not in the tokenizer's vocabulary: call "
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
                    "ids: resize the embedding to len(tokenizer)"
                )
        if len(set(ids.values())) != len(ids):
            raise ValueError(f"special tokens must have distinct ids, got {ids} for {names}")
        return SpecialTokenIds(**ids)


def load_tokenizer(tokenizer: Any, special_tokens: SpecialTokens | dict | None = None) -> tuple[Any, SpecialTokenIds]:
    """Give a tokenizer that knows the special tokens, and their ids.

    Args:
        tokenizer: a Hugging Face tokenizer, or a config of one such as
            ``dict(type=AutoTokenizer.from_pretrained, pretrained_model_name_or_path=...)``. A recipe that MMEngine has
            written into a work dir spells the type as a dotted path.
        special_tokens: spelling, or its arguments.

    Raises:
        ImportError: the dotted path names nothing.
        ValueError: see :meth:`SpecialTokens.resolve`.
    """
    if isinstance(tokenizer, dict):
        arguments = dict(tokenizer)
        make = arguments.pop("type")
        if isinstance(make, str) and (make := get_object_from_string(name := make)) is None:
            raise ImportError(f"the type of the tokenizer, {name!r}, cannot be imported")
        tokenizer = make(**arguments)
    if not isinstance(special_tokens, SpecialTokens):
        special_tokens = SpecialTokens(**(special_tokens or {}))
    special_tokens.add_to(tokenizer)
    return tokenizer, special_tokens.resolve(tokenizer)
