"""From parts to token ids, and from the dictionary of the pipeline to a typed sample."""

from dataclasses import dataclass, field
from typing import Any

import torch
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.transforms.conversation import GroundedPart, ImagePart, Part, TextPart
from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import IGNORE_INDEX, GroundingSample, RowKind, VisualLayout
from lira_plugin.tokens import load_tokenizer

_KNOWN_TEXTS = 4096
"""Texts whose tokens are kept at most."""


@dataclass
class _Rows:
    """Rows of a sequence under construction; ``text`` counts those that hold text."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    text: int = 0

    def add_text(self, ids: list[int], supervised: bool) -> None:
        self.input_ids += ids
        self.labels += ids if supervised else [IGNORE_INDEX] * len(ids)
        self.kinds += [RowKind.TEXT] * len(ids)
        self.text += len(ids)

    def add_features(self, kinds: list[RowKind], padding: int) -> None:
        self.input_ids += [padding] * len(kinds)
        self.labels += [IGNORE_INDEX] * len(kinds)
        self.kinds += kinds


@TRANSFORMS.register_module()
class TokenizeConversation(BaseTransform):
    """Tokenize parts chunk by chunk; images and regions become rows that wait for features.

    Answers are supervised, with their special tokens and the template's suffix; questions, features and BOS are not
    (``xtuner/dataset/utils.py:36-144`` of the reference).

    Args:
        tokenizer: a Hugging Face tokenizer or its config.
        layout: rows of a visual block (:class:`VisualLayout` or its arguments).
        special_tokens: spelling (:class:`SpecialTokens` or its arguments).
        max_length: text tokens at most; image and region rows are not counted. A longer sequence loses its end, but
            never a piece of a grounded phrase: a phrase that does not fit goes as a whole, with all that follows.
        add_bos: put the tokenizer's BOS in front, if it has one.

    Required Keys:

    - record
    - parts
    - tiles
    - region_tiles

    Modified Keys:

    - region_tiles (views of dropped regions are removed)

    Added Keys:

    - input_ids, labels, kinds ((L,) long tensors)
    - seg_regions (region of each ``<seg>``)
    - dropped_regions (count)
    """

    def __init__(
        self,
        tokenizer: Any,
        layout: VisualLayout | dict,
        special_tokens: Any = None,
        max_length: int = 1024,
        add_bos: bool = True,
    ) -> None:
        self.tokenizer, self.ids, _ = load_tokenizer(tokenizer, special_tokens)
        self.layout = layout if isinstance(layout, VisualLayout) else VisualLayout(**layout)
        self.max_length, self.add_bos = max_length, add_bos
        self.padding = self.tokenizer.pad_token_id or 0
        self._known: dict[str, list[int]] = {}

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Tokenize.

        Raises:
            ValueError: ``max_length`` leaves no room for the first word of an answer.
        """
        rows, seg_regions = _Rows(), []
        if self.add_bos and self.tokenizer.bos_token_id is not None:
            rows.add_text([self.tokenizer.bos_token_id], False)
        parts: list[Part] = results["parts"]
        kept = 0
        for part in parts:
            if not self._add(part, rows, len(results["tiles"]), seg_regions):
                break
            kept += 1
        self._check_length(results, parts, kept, rows)
        self._check_special_tokens(results, parts[:kept], rows)
        kept_regions = sum(isinstance(part, GroundedPart) for part in parts[:kept])
        results["dropped_regions"] = sum(isinstance(part, GroundedPart) for part in parts) - kept_regions
        results["region_tiles"] = results["region_tiles"][:kept_regions]
        results["seg_regions"] = seg_regions
        for key in ("input_ids", "labels", "kinds"):
            results[key] = torch.tensor(getattr(rows, key), dtype=torch.long)
        return results

    def _encode(self, text: str) -> list[int]:
        """Tokens of a text; the frame around phrases and frequent questions are tokenized once."""
        if text not in self._known:
            if len(self._known) == _KNOWN_TEXTS:
                self._known.clear()
            self._known[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._known[text]

    def _add(self, part: Part, rows: _Rows, num_tiles: int, seg_regions: list[int]) -> bool:
        """Append a part; return False where it does not fit as a whole."""
        room = self.max_length - rows.text
        if isinstance(part, ImagePart):
            rows.add_features(self.layout.block(num_tiles), self.padding)
            return True
        if isinstance(part, TextPart):
            ids = self._encode(part.text)
            rows.add_text(ids[:room], part.answer)
            return len(ids) <= room
        before, after = self._encode(part.before), self._encode(part.after)
        if len(before) + len(after) > room:
            return False
        rows.add_text(before, True)
        if part.after:
            rows.add_features(self.layout.region, self.padding)
            rows.add_text(after, True)
        seg_regions += [part.region] * (before + after).count(self.ids.seg)
        return True

    def _check_length(self, results: dict[str, Any], parts: list[Part], kept: int, rows: _Rows) -> None:
        supervised = any(label != IGNORE_INDEX for label in rows.labels)
        is_prompt = isinstance(parts[-1], TextPart) and not parts[-1].answer
        if kept < len(parts) and (is_prompt or not supervised):
            raise ValueError(
                f"{_of(results)}: max_length={self.max_length} text tokens leave no room for an answer ("
                "the question with the turns before it, or with the first grounded phrase, is longer); raise max_length, or ask "
                "without the earlier turns"
            )

    def _check_special_tokens(self, results: dict[str, Any], parts: list[Part], rows: _Rows) -> None:
        """Only grounded phrases bring special tokens; one that stands in the annotation has no mask, view or phrase."""
        grounded = [part for part in parts if isinstance(part, GroundedPart)]
        phrases, views = len(grounded), sum(bool(part.after) for part in grounded)
        written = self.ids._replace(seg=phrases + views, image_id=views, phrase_start=phrases, phrase_end=phrases)
        for token, count in zip(self.ids, written):
            if rows.labels.count(token) != count:
                raise ValueError(
                    f"{_of(results)}: an answer or a phrase spells the special token "
                    f"{self.tokenizer.convert_ids_to_tokens(token)!r}, which would be learnt without a mask, a view or a "
                    "phrase; take it out of the annotation"
                )


def _of(results: dict[str, Any]) -> str:
    record = results["record"]
    return f"{record.source} record {record.record_id} ({record.image_path or 'text only'})"


@TRANSFORMS.register_module()
class PackGroundingInputs(BaseTransform):
    """End the pipeline: from the dictionary to a :class:`GroundingSample`.

    Args:
        for_generation: keep what prediction and evaluation need: the original image and the annotations.

    Required Keys:

    - record, pixel_images, letterbox, square_masks
    - image (for generation)

    Optional Keys:

    - input_ids, labels, kinds, seg_regions, dropped_regions, tiles, region_tiles (absent in the segmenter stage)
    - index (of the record in its data set)
    """

    def __init__(self, for_generation: bool = False) -> None:
        self.for_generation = for_generation

    def transform(self, results: dict[str, Any]) -> GroundingSample:
        """Pack."""
        record = results["record"]
        empty = torch.zeros(0, dtype=torch.long)
        tiles = results.get("tiles", torch.zeros((0, 3, 1, 1), dtype=torch.uint8))
        masks, labels, seg_masks = self._masks(results, [] if self.for_generation else results.get("seg_regions"))
        return GroundingSample(
            source=record.source,
            record_id=record.record_id,
            input_ids=results.get("input_ids", empty),
            labels=results.get("labels", empty),
            kinds=results.get("kinds", empty),
            pixel_images=results["pixel_images"],
            tiles=tiles,
            tile_counts=(len(tiles),) * len(results["pixel_images"]),
            region_tiles=results.get("region_tiles", torch.zeros((0, 3, 1, 1), dtype=torch.uint8)),
            masks=masks,
            mask_labels=labels,
            seg_masks=seg_masks,
            dropped_regions=results.get("dropped_regions", 0),
            letterbox=results["letterbox"],
            image=results["image"] if self.for_generation else None,
            regions=record.regions if self.for_generation else (),
            question=record.conversation.turns[-1].question,
            image_key=record.image_path if self.for_generation else None,
            forced_answer=results.get("forced_answer", ""),
            index=results.get("index"),
        )

    @staticmethod
    def _masks(
        results: dict[str, Any], seg_regions: list[int] | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Masks that are learnt: all of them in the segmenter stage (None), else those that a ``<seg>`` asks for."""
        regions, masks = results["record"].regions, results["square_masks"]
        every = list(range(len(masks)))
        used = every if seg_regions is None else sorted(set(seg_regions))
        place = {region: number for number, region in enumerate(used)}
        return (
            masks if used == every else masks[used],
            torch.tensor([regions[region].category_id for region in used], dtype=torch.long),
            torch.tensor([place[region] for region in seg_regions or ()], dtype=torch.long),
        )
