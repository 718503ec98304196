"""ReasonSeg in the layout of LISA: a folder of pictures with a JSON file of polygons and questions beside each."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import msgspec
import numpy as np

from lira_plugin.datasets.entries import Entry, NotBlank, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.json_records import parse_record
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.transforms.pixels import header_size
from lira_plugin.json_file import check_is_file
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, FaultKind, Record, Region, encode_mask, reason_turn

QueryKind = Literal["all", "short", "long"]
"""Which questions: phrases (short), sentences (long), or both."""
_FARTHEST = 100_000
"""Pixels from the corner that no point of a picture is away."""


class _ReasonShape(Entry):
    """A polygon; of other keys of LabelMe's nothing is read."""

    label: str
    points: Annotated[list[tuple[float, float]], msgspec.Meta(min_length=1)]


class _ReasonEntry(Entry):
    """A JSON file."""

    shapes: list[_ReasonShape]
    text: Annotated[list[NotBlank], msgspec.Meta(min_length=1)]
    is_sentence: bool


@dataclass(frozen=True)
class ReasonAnnotation:
    """What a JSON file says.

    Args:
        texts: the questions, without surrounding space; all ask for the same.
        is_sentence: whether they are sentences (long) and not phrases (short).
        polygons: in the order of the file, each (n, 2) int32 x and y, and whether it is ignored in an evaluation; the others
            are of what is asked for.
    """

    texts: tuple[str, ...]
    is_sentence: bool
    polygons: tuple[tuple[np.ndarray, bool], ...]

    @property
    def has_target(self) -> bool:
        """Whether the file says that something is asked for."""
        return not all(is_ignored for _, is_ignored in self.polygons)

    @property
    def query(self) -> Literal["short", "long"]:
        """The kind of its questions."""
        return "long" if self.is_sentence else "short"


@DATASETS.register_module()
class ReasonSegDataset(GroundingDataset):
    """Reasoning segmentation: ``data_root/<split>/NAME.jpg`` with ``NAME.json`` beside it.

    The JSON file holds ``{"shapes": [{"label": "target" | "ignore" | "flag", "points": [[x, y], ...]}, ...], "text": [questions],
    "is_sentence": bool}``. As in LISA (``utils/data_processing.py``), polygons are painted with their outline from the largest to
    the smallest, so that a small one in or out of the target prevails; a label with "ignore" in it is ignored, "flag" is left
    out, and any other is a target.

    * Training (``num_questions=N``): one record an image, up to N of its questions as turns, drawn without replacement. Images
      without a target are left out, which is logged.
    * Evaluation (``num_questions=None``): one record an image with its first question, in the order of the names. The source of a
      record ends with the kind of its question: ``reasonseg/val/short``, ``reasonseg/val/long``.

    Args:
        data_root: folder that holds the folders of the splits.
        split: ``train``, ``val`` or ``test``, or whatever the folder is called.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        num_questions: most questions a record when training; None for evaluation.
        query: ``short``, ``long`` or ``all``.
        seed: seed of the random choices.
        source: name for metrics; by default ``reasonseg/<split>``.
        on_bad_record: ``raise``, or ``skip`` to leave pictures out whose JSON file is bad.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`. LISA reads pictures upright.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: ``num_questions`` is not positive, no record is left, or, with ``on_bad_record='raise'``, a picture has no
            JSON file of this form. All bad ones are named at once.
    """

    def __init__(
        self,
        data_root: str,
        split: str,
        pipeline: Pipeline | None = None,
        num_questions: int | None = None,
        query: QueryKind = "all",
        seed: int = 0,
        source: str | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        if num_questions is not None and num_questions < 1:
            raise ValueError(f"num_questions must be positive, or None for evaluation, got {num_questions}")
        super().__init__(source or f"reasonseg/{split}", pipeline, seed, exif)
        self.num_questions = num_questions
        folder = Path(data_root) / split
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}; check data_root and split ({split!r})")
        self._records: list[tuple[Path, ReasonAnnotation]] = []
        self._painted: dict[int, tuple[tuple[int, int], Region]] = {}
        report = ReaderReport(self.source, on_bad_record)
        for image in sorted(folder.glob("*.jpg")):
            path = image.with_suffix(".json")
            try:
                annotation = read_reason(path)
            except BadRecord as error:
                report.bad(path, image.stem, f"record {image.stem}", error)
                continue
            if num_questions is not None and not annotation.has_target:
                report.left_out(path, image.stem, "there is no target to learn")
            elif query in ("all", annotation.query):
                self._records.append((image, annotation))
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(folder, f"picture NAME.jpg with a question (query={query!r})")
        self.protocol |= {
            "files": [str(image.with_suffix(".json")) for image, _ in self._records],
            "query": query,
            "question": "the first of each image",
        }

    def __len__(self) -> int:
        return len(self._records)

    @property
    def image_paths(self) -> list[str | None]:
        """The image of each record."""
        return [str(image) for image, _ in self._records]

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``: the first question, or questions drawn with ``rng`` for training."""
        texts = self._records[index][1].texts
        if self.num_questions is None:
            return self._record(index, texts[:1])
        count = min(self.num_questions, len(texts))
        return self._record(index, [texts[drawn] for drawn in rng.choice(len(texts), size=count, replace=False)])

    def whole_records(self, index: int) -> Iterator[Record]:
        """All questions of the record at ``index``, as many in a record as a draw takes."""
        texts = self._records[index][1].texts[: 1 if self.num_questions is None else None]
        count = self.num_questions or 1
        for start in range(0, len(texts), count):
            yield self._record(index, texts[start : start + count])

    def _record(self, index: int, texts: Sequence[str]) -> Record:
        image, annotation = self._records[index]
        if index not in self._painted:
            self._painted[index] = self._paint(image, annotation)
        size, region = self._painted[index]
        turns = (
            reason_turn(text, annotation.is_sentence, turn if annotation.has_target else None)
            for turn, text in enumerate(texts)
        )
        return Record(
            source=self.source if self.num_questions is not None else f"{self.source}/{annotation.query}",
            record_id=image.stem,
            image_path=str(image),
            conversation=Conversation(tuple(turns)),
            regions=(region,) * len(texts),
            size=size,
            exif=self.exif,
        )

    def _paint(self, image: Path, annotation: ReasonAnnotation) -> tuple[tuple[int, int], Region]:
        """Size of a picture as it will be read, and its region as RLE."""
        try:
            height, width = header_size(str(image), self.exif)
        except (OSError, ValueError) as error:
            raise ValueError(f"{image} cannot be read as an image ({error}); fetch it again") from error
        target, ignored = paint_reason(annotation, height, width)
        if self.num_questions is not None:
            target &= ~ignored
        return (height, width), Region(
            phrase="this",
            segmentations=(encode_mask(target),) if annotation.has_target else (),
            ignored=(encode_mask(ignored),) if ignored.any() else (),
        )


def read_reason(path: str | os.PathLike) -> ReasonAnnotation:
    """Read and check a JSON file of ReasonSeg.

    Raises:
        BadRecord: it is not there or not of the layout; the message is without the file.
    """
    return parse_reason(read_reason_json(path))


def read_reason_json(path: str | os.PathLike) -> Any:
    """Parse a JSON file of ReasonSeg; some of the published ones are in Windows' encoding of Western languages.

    Raises:
        BadRecord: it is not there or cannot be read; the message is without the file.
    """
    try:
        check_is_file(path)
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise BadRecord("there is no JSON file beside the picture", "both are of the same archive") from None
    except (OSError, ValueError) as error:
        raise BadRecord("the JSON file cannot be read", str(error)) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return parse_record(text)


def parse_reason(content: Any) -> ReasonAnnotation:
    """Check what a JSON file holds; see :func:`read_reason`."""
    entry = to_entry(content, _ReasonEntry)
    polygons = []
    for index, shape in enumerate(entry.shapes):
        label = shape.label.lower()
        if label != "flag":
            polygons.append((_points(shape.points, index), "ignore" in label))
    return ReasonAnnotation(tuple(text.strip() for text in entry.text), entry.is_sentence, tuple(polygons))


def paint_reason(annotation: ReasonAnnotation, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Paint the polygons from the largest to the smallest; of equals the later one first, as NumPy's order reversed is.

    Returns:
        All pixels of targets, and those that end up ignored, each (height, width) bool. LISA's target is the former without the
        latter; that a target is ignored as a whole is told by both.
    """
    masks = [_filled(points, height, width) for points, _ in annotation.polygons]
    target, ignored = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for index in np.argsort([mask.sum(dtype=np.uint64) for mask in masks])[::-1]:
        is_ignored = annotation.polygons[index][1]
        ignored[masks[index]] = is_ignored
        if not is_ignored:
            target |= masks[index]
    return target, ignored


def _filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """A polygon with its outline, (height, width) bool."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.polylines(canvas, [points], True, 1, 1)
    cv2.fillPoly(canvas, [points], 1)
    return canvas.astype(bool)


def _points(points: list[tuple[float, float]], index: int) -> np.ndarray:
    """(n, 2) int32; fractions are cut off, as LISA does."""
    for point in points:
        if not all(abs(value) <= _FARTHEST for value in point):  # NaN is not
            kind = FaultKind.MASK_OUTSIDE if all(map(math.isfinite, point)) else FaultKind.NON_FINITE
            raise BadRecord(f"shape {index} has a point that no picture holds", f"got {list(point)!r}", kind)
    return np.array(points, np.int32)
