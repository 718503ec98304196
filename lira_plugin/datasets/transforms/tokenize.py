"""From parts to token ids."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.agreed import Disagreement, agreed, agreed_tokens, needed
from lira_plugin.datasets.transforms.ilvc import GroundedPart, ImagePart, Part, TextPart
from lira_plugin.registry import TRANSFORMS
from lira_plugin.settings import parameters_of, refuse_unknown
from lira_plugin.structures import IGNORE_INDEX, DataFault, FaultKind, InputSpec, TokenKind, VisualLayout
from lira_plugin.tokens import SpecialTokens, TextEncoder, as_special_tokens, load_tokenizer

ControlTokens = Literal["raise", "plain"]


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
    (``xtuner/dataset/utils.py:36-144`` of the reference). Control tokens that people or data files spell are plain letters in
    questions and in the history of a prompt (:class:`~lira_plugin.tokens.TextEncoder`). In what is learnt they are an error.

    A phrase whose region has no pixel stays in the sequence with its tokens and view, and is not supervised.

    Args:
        tokenizer: a Hugging Face tokenizer or its config; None takes the model's, as with the two below.
        layout: positions of a visual block (:class:`VisualLayout` or its arguments).
        special_tokens: spelling (:class:`SpecialTokens` or its arguments).
        max_length: text tokens at most; those of images and views are not counted. A longer sequence loses its end, but
            never a piece of a grounded phrase: a phrase that does not fit goes as a whole, with all that follows.
        add_bos: put the tokenizer's BOS in front, if it has one.
        control_tokens: in the text that is learnt: ``raise``, or ``plain`` to learn them as plain letters, such as the ``<p>`` of
            web pages.

    Required Keys:

    - record
    - parts
    - tiles (where the layout has semantic tokens)
    - view_tiles

    Optional Keys:

    - forced_part
    - empty_regions

    Modified Keys:

    - view_tiles (views of dropped regions are removed)

    Added Keys:

    - input_ids, labels, kinds ((L,) long tensors)
    - seg_regions (region of each ``<seg>``)
    - dropped_regions (count)
    - cut_answers (count of those that lost their end, or all, to ``max_length``)
    - forced_ids (tuple of the token ids of the forced part, in the chunks that training has)
    """

    def __init__(
        self,
        tokenizer: Any = None,
        layout: VisualLayout | Mapping[str, Any] | None = None,
        special_tokens: SpecialTokens | dict | None = None,
        max_length: int = 1024,
        add_bos: bool = True,
        control_tokens: ControlTokens = "raise",
    ) -> None:
        if control_tokens not in get_args(ControlTokens):
            raise ValueError(f"control_tokens must be one of {list(get_args(ControlTokens))}, got {control_tokens!r}")
        self.tokenizer: Any = None
        if isinstance(layout, Mapping):
            refuse_unknown(layout, parameters_of(VisualLayout)[0], "layout")
        self.layout = VisualLayout(**layout) if isinstance(layout, Mapping) else layout
        self.special_tokens = as_special_tokens(special_tokens)
        self.max_length, self.add_bos, self.control_tokens = max_length, add_bos, control_tokens
        if tokenizer is not None:
            self._load(tokenizer)

    def _load(self, tokenizer: Any) -> None:
        self.tokenizer, self.ids, _ = load_tokenizer(tokenizer, self.special_tokens)
        self.padding = self.tokenizer.pad_token_id or 0
        self.encode = TextEncoder(self.tokenizer, self.tokenizer.convert_ids_to_tokens(list(self.ids)))

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
            ValueError: ``max_length`` leaves no room for the first word of an answer, an answer or phrase to be learnt spells a
                control token, or tokenizer or layout is missing.
        """
        needed(self.tokenizer, self, "tokenizer")
        needed(self.layout, self, "layout")
        sequence, seg_regions = _Sequence(), []
        if self.add_bos and self.tokenizer.bos_token_id is not None:
            sequence.add_text([self.tokenizer.bos_token_id], False)
        parts: list[Part] = results["parts"]
        empty = results.get("empty_regions", ())
        learns = not _is_prompt(parts)
        num_tiles = len(results["tiles"]) if self.layout.semantic else 0
        kept = 0
        for part in parts:
            if learns and self.control_tokens == "raise":
                self._refuse_control_tokens(results, part)
            if not self._add(part, sequence, num_tiles, seg_regions, empty):
                break
            kept += 1
        self._check_length(results, parts, kept, sequence)
        results["cut_answers"] = sum(_ends_answer(parts, index) for index in range(kept, len(parts)))
        kept_regions = sum(isinstance(part, GroundedPart) for part in parts[:kept])
        results["dropped_regions"] = sum(isinstance(part, GroundedPart) for part in parts) - kept_regions
        results["view_tiles"] = results["view_tiles"][:kept_regions]
        results["seg_regions"] = seg_regions
        forced: GroundedPart | None = results.get("forced_part")
        before, after = ([], []) if forced is None else self._encode(forced)
        results["forced_ids"] = (*before, *after)
        for key in ("input_ids", "labels", "kinds"):
            results[key] = torch.tensor(getattr(sequence, key), dtype=torch.long)
        return results

    def _encode(self, part: GroundedPart) -> tuple[list[int], list[int]]:
        """Tokens before and after the view."""
        if part.after:
            return self.encode(part.before), self.encode(part.after, part.users)
        return self.encode(part.before, part.users), []

    def _add(
        self, part: Part, sequence: _Sequence, num_tiles: int, seg_regions: list[int], empty: Collection[int]
    ) -> bool:
        """Append a part; return False where it does not fit as a whole."""
        room = self.max_length - sequence.text
        if isinstance(part, ImagePart):
            sequence.add_features(self.layout.block(num_tiles), self.padding)
            return True
        if isinstance(part, TextPart):
            ids = self.encode(part.text, part.users)
            sequence.add_text(ids[:room], part.answer)
            return len(ids) <= room
        before, after = self._encode(part)
        if len(before) + len(after) > room:
            return False
        is_learnt = part.region not in empty
        sequence.add_text(before, is_learnt)
        if part.after:
            sequence.add_features(self.layout.view, self.padding)
            sequence.add_text(after, is_learnt)
        if is_learnt:
            seg_regions += [part.region] * (before + after).count(self.ids.seg)
        return True

    def _check_length(self, results: dict[str, Any], parts: list[Part], kept: int, sequence: _Sequence) -> None:
        answers = any(isinstance(part, GroundedPart) for part in parts[:kept])
        answers |= any(label != IGNORE_INDEX for label in sequence.labels)
        if kept < len(parts) and (_is_prompt(parts) or not answers):
            raise DataFault(
                FaultKind.OVER_LONG,
                f"{_of(results)}: max_length={self.max_length} text tokens leave no room for an answer ("
                "the question with the turns before it, or with the first grounded phrase, is longer); raise max_length, or ask "
                "without the earlier turns (docs/troubleshooting.md#no-room-for-an-answer)",
            )

    def _refuse_control_tokens(self, results: dict[str, Any], part: Part) -> None:
        """Only templates and grounded phrases bring control tokens: one in the annotation has no mask, and ends no turn."""
        if isinstance(part, ImagePart) or (isinstance(part, TextPart) and not part.answer):
            return
        text = part.text if isinstance(part, TextPart) else part.after or part.before
        if spelt := self.encode.spelt_by(text, part.users):
            raise DataFault(
                FaultKind.SPECIAL_TOKEN,
                f"{_of(results)}: an answer or a phrase spells the special token {spelt[0]!r}, in {text!r:.80}, which would be "
                "learnt without a mask, a view or a phrase; take it out of the annotation, or let TokenizeConversation("
                "control_tokens='plain') learn it as plain letters (docs/troubleshooting.md#control-token-in-a-text)",
            )


def _is_prompt(parts: list[Part]) -> bool:
    """Whether the last answer is left out, for generation."""
    return isinstance(parts[-1], TextPart) and not parts[-1].answer


def _ends_answer(parts: list[Part], index: int) -> bool:
    """Whether a part is the last of an answer."""
    part, rest = parts[index], parts[index + 1 :]
    return isinstance(part, TextPart) and part.answer and (not rest or _is_prompt(rest[:1]))


def _described(tokenizer: Any) -> str:
    return f"{tokenizer.name_or_path or type(tokenizer).__name__!r} of {len(tokenizer)} tokens"


def _of(results: dict[str, Any]) -> str:
    record = results["record"]
    return f"{record.source} record {record.record_id} ({record.image_path or 'text only'})"
