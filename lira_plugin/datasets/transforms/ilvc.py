"""Interleaved local visual coupling: from a grounded conversation to the parts of a sequence."""

from dataclasses import dataclass, field
from math import fsum
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.agreed import agreed, agreed_tokens, contradiction, needed
from lira_plugin.datasets.transforms.cut_views import stack_views
from lira_plugin.datasets.transforms.mask_jitter import jitter_mask
from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import ChatTemplate, InputSpec, PhraseSpan, Record, Turn, build_template, region_view
from lira_plugin.tokens import SpecialTokens, Stretches, as_special_tokens


@dataclass(frozen=True)
class TextPart:
    """Text, tokenized as one chunk.

    Args:
        text: the text.
        answer: whether it is supervised.
        users: characters that a person or a data file has written, in which control tokens are plain letters.
    """

    text: str
    answer: bool
    users: Stretches = field(default=(), compare=False)


@dataclass(frozen=True)
class ImagePart:
    """The visual block of the image."""


@dataclass(frozen=True)
class GroundedPart:
    """A phrase with its region: indivisible, so that truncation never cuts inside.

    Args:
        before: the supervised text up to where the region's view goes, or up to ``<seg>`` without a view.
        after: the supervised text after the view; empty without one.
        region: index into ``record.regions``.
        users: characters of the phrase, in ``after``, or in ``before`` without a view.
    """

    before: str
    after: str
    region: int
    users: Stretches = field(default=(), compare=False)


Part = TextPart | ImagePart | GroundedPart


@TRANSFORMS.register_module()
class ILVC(BaseTransform):
    """Write each answer with its regions interleaved, and cut the views of the regions.

    With ILVC a grounded phrase becomes ``<seg><image_id>{view} <p> phrase </p> <seg>``, without it ``<p> phrase </p> <seg>``.
    Views are cut on the fly from the ground truth. As they will come from predicted masks later, some may be cut from
    wrong ones: another object's, or the right one shifted and scaled, or with a rough outline (the supplement's "error
    accumulation").

    Args:
        size: side of a view, that of a tile; None takes the model's, as with the three below.
        template: chat template (:class:`ChatTemplate`, its arguments, or its name in :data:`CHAT_TEMPLATES`).
        special_tokens: spelling (:class:`SpecialTokens` or its arguments).
        prob: share of the samples with ILVC: 1 always, 0 never, in between the two-prompt training of the supplement's section 6.
            None is always, or never where the model generates without ILVC.
        suffixes: what is put behind the question with and without ILVC, so that the model can be told which to do.
        wrong_view: share of the views cut from another region of the record, where the question names the phrase. A phrase that
            it does not name, as in a caption, is to be read from the view, which is then never of another region.
        shifted_view: share of the views cut from a shifted and scaled mask.
        rough_view: share of the views cut from a mask with a rough outline, as a small model predicts.
        answers: False leaves the last answer out, for generation. Earlier turns are history: they keep their answers and views.
        force_regions: without answers, generation is to segment the region of the record whatever the model would say:
            the answer is the region's phrase with its ``<seg>`` tokens. For records with exactly one region (RefSeg).

    Required Keys:

    - record
    - rng
    - image, masks (of records with regions)

    Optional Keys:

    - empty_regions (no view is cut from one of them in place of another region's)

    Added Keys:

    - parts (list of :data:`Part`)
    - view_tiles ((R, 3, size, size) uint8 tensor, in the order of mention)
    - forced_part (:class:`GroundedPart`, None unless ``force_regions``)
    """

    def __init__(
        self,
        size: int | None = None,
        template: ChatTemplate | dict | str | None = None,
        special_tokens: SpecialTokens | dict | None = None,
        prob: float | None = None,
        suffixes: tuple[str, str] = ("", ""),
        wrong_view: float = 0.0,
        shifted_view: float = 0.0,
        rough_view: float = 0.0,
        answers: bool = True,
        force_regions: bool = False,
    ) -> None:
        if force_regions and answers:
            raise ValueError("force_regions=True is for generation; it needs answers=False")
        views = {"wrong_view": wrong_view, "shifted_view": shifted_view, "rough_view": rough_view}
        if not 0 <= (prob or 0) <= 1 or min(views.values()) < 0 or fsum(views.values()) > 1:
            given = ", ".join(f"{name}={share}" for name, share in views.items())
            raise ValueError(f"shares must lie in 0..1, those of views in all, got prob={prob}, {given}")
        self.size, self.template = size, build_template(template)
        self.special_tokens = as_special_tokens(special_tokens)
        self.prob, self.suffixes = prob, tuple(suffixes)
        self.wrong_view, self.shifted_view, self.rough_view = wrong_view, shifted_view, rough_view
        self.answers, self.force_regions = answers, force_regions

    @property
    def tokens(self) -> SpecialTokens:
        """Spelling of the special tokens."""
        return self.special_tokens or SpecialTokens()

    @property
    def view_share(self) -> float:
        """Share of the samples with views."""
        return 1.0 if self.prob is None else self.prob

    def fit_to_model(self, spec: InputSpec) -> None:
        """Take size, template, special tokens and use of views from the model, or compare them with it.

        Raises:
            Disagreement: see :func:`~lira_plugin.datasets.agreed.agreed`.
        """
        self.size = agreed("size", self.size, spec, "tile_size")
        self.special_tokens = agreed_tokens(self.special_tokens, spec)
        self.template = agreed("template", self.template, spec, "template")
        if self.template and spec.end_token and not self.template.suffix.endswith(spec.end_token):
            raise contradiction("template.suffix", self.template.suffix, spec, "end_token")
        if spec.ilvc is not None:
            if self.prob in (0, 1) and self.prob != spec.ilvc:
                raise contradiction("prob", self.prob, spec, "ilvc")
            self.prob = float(spec.ilvc) if self.prob is None else self.prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Interleave.

        Raises:
            ValueError: size or template are neither given nor taken from a model.
        """
        record, rng = results["record"], results["rng"]
        interleave = bool(rng.random() < self.view_share)
        suffix = self.suffixes[0 if interleave else 1]
        turns = record.conversation.turns
        template = needed(self.template, self, "template")
        answered = turns if self.answers else turns[:-1]
        parts: list[Part] = []
        for index, turn in enumerate(turns):
            parts += _question(template, turn.question, suffix, index == 0, record.image_path is not None)
            if index < len(answered):
                parts += self._answer(template, turn, interleave)
        results["parts"] = parts
        results["forced_part"] = self._forced(record, interleave) if self.force_regions else None
        mentioned = [(turn, span) for turn in answered for span in turn.spans] if interleave else ()
        views = [self._view(results, span.region, _names(turn, span)) for turn, span in mentioned]
        results["view_tiles"] = stack_views(views, needed(self.size, self, "size"))
        return results

    def _answer(self, template: ChatTemplate, turn: Turn, interleave: bool) -> list[Part]:
        parts: list[Part] = []
        end = 0
        for span in turn.spans:
            if span.start > end:
                parts.append(TextPart(turn.answer[end : span.start], True, ((0, span.start - end),)))
            parts.append(self._grounded(turn.answer, span, interleave))
            end = span.end
        parts.append(TextPart(turn.answer[end:] + template.suffix, True, ((0, len(turn.answer) - end),)))
        return parts

    def _grounded(self, answer: str, span: PhraseSpan, interleave: bool) -> GroundedPart:
        tokens = self.tokens
        opening = f" {tokens.phrase_start} " if interleave else f"{tokens.phrase_start} "
        phrase = f"{opening}{answer[span.start : span.end]} {tokens.phrase_end} {tokens.seg}"
        users = ((len(opening), len(opening) + span.end - span.start),)
        if interleave:
            return GroundedPart(f"{tokens.seg}{tokens.image_id}", phrase, span.region, users)
        return GroundedPart(phrase, "", span.region, users)

    def _forced(self, record: Record, interleave: bool) -> GroundedPart:
        if len(record.regions) != 1:
            raise ValueError(
                f"{record.source} record {record.record_id}: force_regions needs one region a record, got "
                f"{len(record.regions)}; set force_regions=False for this data set"
            )
        phrase = record.regions[0].phrase
        return self._grounded(phrase, PhraseSpan(0, len(phrase), 0), interleave)

    def _view(self, results: dict[str, Any], region: int, named: bool) -> np.ndarray:
        rng, masks, empty = results["rng"], results["masks"], results.get("empty_regions", ())
        mask = masks[region]
        wrong_view = self.wrong_view if named else 0.0
        chance = rng.random()
        if chance < wrong_view:
            others = [index for index in range(len(masks)) if index != region and index not in empty]
            others = [index for index in others if (masks[index] != mask).any()]
            if others:
                mask = masks[rng.choice(others)]
        else:
            mask = jitter_mask(mask, chance - wrong_view, self.shifted_view, self.rough_view, rng)
        return region_view(results["image"], mask, self.size)


def _question(template: ChatTemplate, question: str, suffix: str, first: bool, has_image: bool) -> list[Part]:
    before, after = template.question(question + suffix, first)
    if first and has_image:
        return [TextPart(before, False), ImagePart(), TextPart("\n" + after, False, ((1, 1 + len(question)),))]
    return [TextPart(before + after, False, ((len(before), len(before) + len(question)),))]


def _names(turn: Turn, span: PhraseSpan) -> bool:
    """Whether the question says the phrase that the answer grounds."""
    return turn.answer[span.start : span.end].lower() in turn.question.lower()
