"""Predictions of any model for referring segmentation, as plain objects: lines of a JSON Lines file.

A line holds ``segmentation`` (the answer), ``target`` and ``ignore`` (the annotation). Each is an RLE, or a list of RLEs, or null
or left out for none. A line without ``target`` is of a sentence that names nothing; a target without a pixel is one. Instead of
``segmentation`` a line may hold ``spans``, as :class:`~lira_plugin.evaluation.DumpAnswers` writes them.

Further keys are optional: ``record_id`` and ``source``; ``object_id`` (whose sentence it is); ``is_sentence`` (ReasonSeg: a long
question); ``score`` and ``seg_prob`` (probabilities that speak for a target); ``says_no_target`` (a verdict beside the mask, as
ReLA gives one).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from lira_plugin.evaluation.prediction_files import read_lines
from lira_plugin.evaluation.refer_figures import figures_by_rule, presence_figures
from lira_plugin.evaluation.refer_scores import SentenceScore, score_sentence
from lira_plugin.structures import MaskStage, decode_union

SentenceRule = Literal["sentence", "object"]
"""Whether every sentence counts, or the first of each object."""


@dataclass(frozen=True)
class ReferProtocol:
    """How lines are scored.

    Args:
        spans: ``first``: only the first mask of an answer counts. ``union``: all of its masks are united.
        min_pixels: a mask of fewer pixels counts as empty. Each value gives figures; the names of those after the first end with
            ``_<value>px``.
        empty_is_right: whether two masks without a pixel are right whatever the annotation says (LISA); else they are where the
            sentence names nothing, or all of the target is ignored.
        presence: whether figures with calibrated presence are added, where lines hold ``score`` or ``seg_prob``.
        stage: which masks of ``spans`` count; a span without a coarse mask has one mask only.
        skip_missing: what an answer without a mask counts as. False: an empty mask. True, as LIRA's script: nothing in cIoU, and
            0 in gIoU.
        per: ``object`` scores the first line of each ``object_id``.

    Raises:
        ValueError: ``min_pixels`` is empty, or one is negative.
    """

    spans: Literal["first", "union"] = "first"
    min_pixels: tuple[int, ...] = (0,)
    empty_is_right: bool = False
    presence: bool = False
    stage: MaskStage = "refined"
    skip_missing: bool = False
    per: SentenceRule = "sentence"

    def __post_init__(self) -> None:
        if not self.min_pixels or min(self.min_pixels) < 0:
            raise ValueError(f"min_pixels must hold counts from 0 on, and at least one, got {self.min_pixels!r}")


REFER_PROTOCOLS: dict[str, ReferProtocol] = {
    "refseg": ReferProtocol(),
    "grefcoco": ReferProtocol(spans="union", min_pixels=(0, 50), presence=True),
    "reasonseg": ReferProtocol(empty_is_right=True),
}
"""The kinds of files of referring segmentation: RefCOCO's, gRefCOCO's (ReLA's rules) and ReasonSeg's (LISA's)."""


class LineMasks(NamedTuple):
    """The masks of a line, (H, W) bool: those of an answer as one, or None; the target; what to ignore."""

    mask: np.ndarray | None
    target: np.ndarray
    has_target: bool
    ignore: np.ndarray
    score: float | None
    """How sure the model is of its best mask, where the line says."""


class LineScore(NamedTuple):
    """Scores of a line by least count of pixels, and what it says of itself."""

    name: str
    record_id: Any
    group: str | None
    missing_seg: bool
    signals: dict[str, float]
    scores: dict[int, SentenceScore]

    def to_json(self) -> dict[str, Any]:
        """Plain types for a line of error analysis; scores of the first rule."""
        score = next(iter(self.scores.values()))
        return {
            "record": self.name,
            "record_id": self.record_id,
            "group": self.group,
            "I": score.intersection,
            "U": score.union,
            "iou": score.iou,
            "box_iou": score.box_iou,
            "pixels": score.pixels,
            "target_pixels": score.target_pixels,
            "no_target": not score.has_target,
            "says_no_target": score.says_no_target,
            "missing_seg": self.missing_seg,
        }


class ReferLineScores(NamedTuple):
    """Figures of a file, the scores of its lines, and details of presence (sweep, probabilities), empty without them."""

    figures: dict[str, float]
    lines: list[LineScore]
    presence: dict[str, Any]


def score_refer_lines(lines: Iterable[tuple[str, Mapping[str, Any]]], protocol: ReferProtocol) -> ReferLineScores:
    """Score lines, of which one at a time is decoded.

    Args:
        lines: (name for messages, object), see the head of this module.
        protocol: how; see :data:`REFER_PROTOCOLS`.

    Returns:
        Figures of all lines: those of :func:`~lira_plugin.evaluation.refer_scores.summarise_sentences`, ``missing_seg``, and with
        presence ``presence/<name>``. Where lines are of several sources, or are long and short questions, each group has
        figures, too: ``<group>/<name>``.

    Raises:
        ValueError: there is no line, one is not of this form, or a record occurs twice; the message names the line.
    """
    scored: list[LineScore] = []
    known: dict[tuple[str, str], str] = {}
    objects: set[tuple[str, str]] = set()
    for name, line in lines:
        if protocol.per == "object":
            key = (repr(line.get("source")), repr(_object_of(name, line)))
            if key in objects:
                continue
            objects.add(key)
        if line.get("record_id") is not None:
            record = (repr(line.get("source")), str(line["record_id"]))
            if record in known:
                raise ValueError(
                    f"{name}: record {line['record_id']!r} was in {known[record]} already; each counts once: remove one of them"
                )
            known[record] = name
        try:
            scored.append(_score_line(name, line, protocol))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if not scored:
        raise ValueError("there is no line to score")
    figures = _figures(scored)
    groups = list(dict.fromkeys(line.group for line in scored if line.group is not None))
    for group in groups if len(groups) > 1 or any(line.group is None for line in scored) else ():
        own = [line for line in scored if line.group == group]
        figures.update({f"{group}/{name}": value for name, value in _figures(own).items()})
    presence: dict[str, Any] = {}
    if protocol.presence:
        names = [name for name in ("score", "seg_prob") if _is_known(name, scored)]
        if names:
            found, presence = presence_figures(
                [[line.signals.get(name, 0.0) for name in names] for line in scored],
                [line.scores[protocol.min_pixels[0]] for line in scored],
            )
            figures.update({f"presence/{name}": value for name, value in found.items()})
    return ReferLineScores(figures, scored, presence)


def _figures(lines: Sequence[LineScore]) -> dict[str, float]:
    by_rule = {rule: [line.scores[rule] for line in lines] for rule in lines[0].scores}
    return figures_by_rule(by_rule) | {"missing_seg": float(np.mean([line.missing_seg for line in lines]))}


def _is_known(signal: str, lines: Sequence[LineScore]) -> bool:
    """Whether lines have a signal; the score of a mask is not asked of those without a mask."""
    asked = [line for line in lines if signal != "score" or not line.missing_seg]
    return bool(asked) and all(signal in line.signals for line in asked)


def _object_of(name: str, line: Mapping[str, Any]) -> Any:
    if line.get("object_id") is None:
        raise ValueError(
            f"{name} has no 'object_id', which says whose sentence it is: to score per object each line needs one"
        )
    return line["object_id"]


def read_masks(line: Mapping[str, Any], protocol: ReferProtocol) -> LineMasks:
    """The masks of a line.

    Raises:
        ValueError: it is not of the form that the head of this module says.
    """
    if not {"segmentation", "spans", "target"} & line.keys():
        raise ValueError(f"a line holds 'segmentation' (or 'spans'), 'target' and 'ignore', this one {sorted(line)}")
    answers, score = _answers(line, protocol.stage)
    targets, ignored = _masks(line.get("target"), "target"), _masks(line.get("ignore"), "ignore")
    height, width = _size([*answers, *targets, *ignored])
    used = answers[:1] if protocol.spans == "first" else answers
    return LineMasks(
        mask=decode_union(used, height, width) if used else None,
        target=decode_union(targets, height, width),
        has_target=bool(targets),
        ignore=decode_union(ignored, height, width),
        score=score,
    )


def _score_line(name: str, line: Mapping[str, Any], protocol: ReferProtocol) -> LineScore:
    masks = read_masks(line, protocol)
    scores = {
        min_pixels: score_sentence(
            masks.mask,
            masks.target,
            has_target=masks.has_target,
            ignore=masks.ignore,
            min_pixels=min_pixels,
            skip_missing=protocol.skip_missing,
            says_no_target=_flag(line, "says_no_target"),
            empty_is_right=True if protocol.empty_is_right else None,
        )
        for min_pixels in protocol.min_pixels
    }
    signals = {"score": masks.score, "seg_prob": _probability(line.get("seg_prob"), "seg_prob")}
    is_sentence = _flag(line, "is_sentence")
    group = line.get("source") if is_sentence is None else ("long" if is_sentence else "short")
    if group is not None and not isinstance(group, str):
        raise ValueError(f"'source' must be a text, got {group!r}")
    return LineScore(
        name=name,
        record_id=line.get("record_id"),
        group=group,
        missing_seg=masks.mask is None,
        signals={key: value for key, value in signals.items() if value is not None},
        scores=scores,
    )


def _answers(line: Mapping[str, Any], stage: MaskStage) -> tuple[list[Any], float | None]:
    """Masks of an answer in order, and how sure the model is of the best of them."""
    if "spans" not in line:
        return _masks(line.get("segmentation"), "segmentation"), _probability(line.get("score"), "score")
    spans = line["spans"]
    if not isinstance(spans, list) or not all(isinstance(span, dict) and span.get("segmentation") for span in spans):
        raise ValueError(f"'spans' must be a list of objects with a 'segmentation', got {spans!r:.80}")
    masks = [(stage == "coarse" and span.get("coarse_segmentation")) or span["segmentation"] for span in spans]
    scores = [_probability(span.get("score"), "score") for span in spans]
    return masks, None if None in scores else max(scores, default=0.0)


def _masks(value: Any, key: str) -> list[dict[str, Any]]:
    """RLEs of a value that is one, a list of them, or nothing."""
    masks = [] if value is None else value if isinstance(value, list) else [value]
    for mask in masks:
        if not isinstance(mask, dict) or not {"size", "counts"} <= mask.keys():
            raise ValueError(
                f"{key!r} must be an RLE {{'size': [height, width], 'counts': ...}}, a list of RLEs or null, got {mask!r:.80}"
            )
    return masks


def _size(masks: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Height and width of the image, from the first mask; of a line without one, of no pixel."""
    if not masks:
        return 0, 0
    size = masks[0]["size"]
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(type(side) is int and side >= 0 for side in size)
    ):
        raise ValueError(f"the size of an RLE must be [height, width] in whole pixels, got {size!r}")
    return size[0], size[1]


def _flag(line: Mapping[str, Any], key: str) -> bool | None:
    value = line.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{key!r} must be true, false or null, got {value!r}")
    return value


def _probability(value: Any, key: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{key!r} must be a probability from 0 to 1, got {value!r}")
    return float(value)


def protocol_of(kind: str, **changes: Any) -> ReferProtocol:
    """The protocol of a kind with some of its settings replaced.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in REFER_PROTOCOLS:
        raise ValueError(f"kinds of referring segmentation are {sorted(REFER_PROTOCOLS)}, got {kind!r}")
    return replace(REFER_PROTOCOLS[kind], **changes)


def score_refer_file(path: str | os.PathLike, protocol: ReferProtocol) -> ReferLineScores:
    """Score a JSON Lines file, see :func:`score_refer_lines`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no line that can be scored, or one that cannot; the message names it.
    """
    return score_refer_lines(read_lines(path), protocol)
