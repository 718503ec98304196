"""From parts to token ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.agreed import Disagreement, agreed, agreed_tokens, needed
from lira_plugin.datasets.transforms.ilvc import GroundedPart, ImagePart, Part, TextPart
from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import IGNORE_INDEX, InputSpec, TokenKind, VisualLayout
from lira_plugin.tokens import SpecialTokens, load_tokenizer

_KNOWN_TEXTS = 4096
"""Texts whose tokens are kept at most."""


@dataclass
class _Sequence:
    """A sequence under construction; ``text`` counts the positions that hold text."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    text: int = 0

    def add_text(self, ids: list[int], supervised: bool) -> None:
        self.input_ids += ids
        self.labels += ids if supervised else [IGNORE_INDEX] * len(ids)
        self.kinds += [TokenKind.TEXT] * len(ids)
        self.text += len(ids)

    def add_features(self, kinds: list[TokenKind], padding: int) -> None:
        self.input_ids += [padding] * len(kinds)
        self.labels += [IGNORE_INDEX] * len(kinds)
        self.kinds += kinds


@TRANSFORMS.register_module()
class TokenizeConversation(BaseTransform):
    """Tokenize parts chunk by chunk; images and views become positions that wait for features.

    Answers are supervised, with their special tokens and the template's suffix; questions, features and BOS are not
    (``xtuner/dataset/utils.py:36-144`` of the reference).

    Args:
        tokenizer: a Hugging Face tokenizer or its config; None takes the model's, as with the two below.
        layout: positions of a visual block (:class:`VisualLayout` or its arguments).
        special_tokens: spelling (:class:`SpecialTokens` or its arguments).
        max_length: text tokens at most; those of images and views are not counted. A longer sequence loses its end, but
            never a piece of a grounded phrase: a phrase that does not fit goes as a whole, with all that follows.
        add_bos: put the tokenizer's BOS in front, if it has one.

    Required Keys:

    - record
    - parts
    - tiles
    - view_tiles

    Optional Keys:

    - forced_part

    Modified Keys:

    - view_tiles (views of dropped regions are removed)

    Added Keys:

    - input_ids, labels, kinds ((L,) long tensors)
    - seg_regions (region of each ``<seg>``)
    - dropped_regions (count)
    - forced_ids (tuple of the token ids of the forced part, in the chunks that training has)
    """

    def __init__(
        self,
        tokenizer: Any = None,
        layout: VisualLayout | Mapping[str, Any] | None = None,
        special_tokens: SpecialTokens | dict | None = None,
        max_length: int = 1024,
        add_bos: bool = True,
    ) -> None:
        self.tokenizer: Any = None
        self.layout = VisualLayout(**layout) if isinstance(layout, Mapping) else layout
        self.special_tokens = SpecialTokens(**special_tokens) if isinstance(special_tokens, Mapping) else special_tokens
        self.max_length, self.add_bos = max_length, add_bos
        self._known: dict[str, list[int]] = {}
        if tokenizer is not None:
            self._load(tokenizer)

    def _load(self, tokenizer: Any) -> None:
        self.tokenizer, self.ids, _ = load_tokenizer(tokenizer, self.special_tokens)
        self.padding = self.tokenizer.pad_token_id or 0

    def fit_to_model(self, spec: InputSpec) -> None:
        """Take tokenizer, special tokens and layout from the model, or compare them with it.

        Raises:
            Disagreement: see :func:`~lira_plugin.datasets.agreed.agreed`.
        """
        self.special_tokens = agreed_tokens(self.special_tokens, spec)
        counts = ("tokens_per_tile", "pixel_tokens", "object_tokens", "semantic")
        given = {name: getattr(self.layout, name, None) for name in counts}
        layout = {name: agreed(f"layout.{name}", value, spec, name) for name, value in given.items()}
        if None not in layout.values():
            self.layout = VisualLayout(**layout)
        if self.tokenizer is None and spec.tokenizer is not None:
            self._load(spec.tokenizer)
        elif spec.tokenizer not in (None, self.tokenizer) and self.tokenizer.get_vocab() != spec.tokenizer.get_vocab():
            raise Disagreement(
                f"tokenizer is {_described(self.tokenizer)}, but that of {spec.settings['tokenizer']} is "
                f"{_described(spec.tokenizer)}, with other tokens"
            )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Tokenize.

        Raises:
            ValueError: ``max_length`` leaves no room for the first word of an answer; or tokenizer or layout is missing.
        """
        needed(self.tokenizer, self, "tokenizer")
        needed(self.layout, self, "layout")
        sequence, seg_regions = _Sequence(), []
        if self.add_bos and self.tokenizer.bos_token_id is not None:
            sequence.add_text([self.tokenizer.bos_token_id], False)
        parts: list[Part] = results["parts"]
        kept = 0
        for part in parts:
            if not self._add(part, sequence, len(results["tiles"]), seg_regions):
                break
            kept += 1
        self._check_length(results, parts, kept, sequence)
        self._check_special_tokens(results, parts[:kept], sequence)
        kept_regions = sum(isinstance(part, GroundedPart) for part in parts[:kept])
        results["dropped_regions"] = sum(isinstance(part, GroundedPart) for part in parts) - kept_regions
        results["view_tiles"] = results["view_tiles"][:kept_regions]
        results["seg_regions"] = seg_regions
        forced: GroundedPart | None = results.get("forced_part")
        results["forced_ids"] = () if forced is None else (*self._encode(forced.before), *self._encode(forced.after))
        for key in ("input_ids", "labels", "kinds"):
            results[key] = torch.tensor(getattr(sequence, key), dtype=torch.long)
        return results

    def _encode(self, text: str) -> list[int]:
        """Tokens of a text; the frame around phrases and frequent questions are tokenized once."""
        if text not in self._known:
            if len(self._known) == _KNOWN_TEXTS:
                self._known.clear()
            self._known[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._known[text]

    def _add(self, part: Part, sequence: _Sequence, num_tiles: int, seg_regions: list[int]) -> bool:
        """Append a part; return False where it does not fit as a whole."""
        room = self.max_length - sequence.text
        if isinstance(part, ImagePart):
            sequence.add_features(self.layout.block(num_tiles), self.padding)
            return True
        if isinstance(part, TextPart):
            ids = self._encode(part.text)
            sequence.add_text(ids[:room], part.answer)
            return len(ids) <= room
        before, after = self._encode(part.before), self._encode(part.after)
        if len(before) + len(after) > room:
            return False
        sequence.add_text(before, True)
        if part.after:
            sequence.add_features(self.layout.view, self.padding)
            sequence.add_text(after, True)
        seg_regions += [part.region] * (before + after).count(self.ids.seg)
        return True

    def _check_length(self, results: dict[str, Any], parts: list[Part], kept: int, sequence: _Sequence) -> None:
        supervised = any(label != IGNORE_INDEX for label in sequence.labels)
        is_prompt = isinstance(parts[-1], TextPart) and not parts[-1].answer
        if kept < len(parts) and (is_prompt or not supervised):
            raise ValueError(
                f"{_of(results)}: max_length={self.max_length} text tokens leave no room for an answer ("
                "the question with the turns before it, or with the first grounded phrase, is longer); raise max_length, or ask "
                "without the earlier turns"
            )

    def _check_special_tokens(self, results: dict[str, Any], parts: list[Part], sequence: _Sequence) -> None:
        """Only grounded phrases bring special tokens; one that stands in the annotation has no mask, view or phrase."""
        grounded = [part for part in parts if isinstance(part, GroundedPart)]
        phrases, views = len(grounded), sum(bool(part.after) for part in grounded)
        written = self.ids._replace(seg=phrases + views, image_id=views, phrase_start=phrases, phrase_end=phrases)
        for token, count in zip(self.ids, written):
            if sequence.labels.count(token) != count:
                raise ValueError(
                    f"{_of(results)}: an answer or a phrase spells the special token "
                    f"{self.tokenizer.convert_ids_to_tokens(token)!r}, which would be learnt without a mask, a view or a "
                    "phrase; take it out of the annotation"
                )


def _described(tokenizer: Any) -> str:
    return f"{tokenizer.name_or_path or type(tokenizer).__name__!r} of {len(tokenizer)} tokens"


def _of(results: dict[str, Any]) -> str:
    record = results["record"]
    return f"{record.source} record {record.record_id} ({record.image_path or 'text only'})"
