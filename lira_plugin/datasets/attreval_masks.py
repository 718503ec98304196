"""AttrEval-RefSeg: expressions that leave an attribute of their object out, in JSON Lines."""

import os
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import id_of
from lira_plugin.datasets.attreval_questions import check_kind
from lira_plugin.datasets.empty_masks import EMPTY_EXPRESSION
from lira_plugin.datasets.entries import Entry, FileName, Id, NotBlank, Side, check_segmentation, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.question_lines import read_lines
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.registry import DATASETS
from lira_plugin.structures import (
    AttributeKind,
    AttributeTruth,
    Conversation,
    ExifRule,
    FaultKind,
    Record,
    Region,
    is_empty_annotation,
    refer_turn,
)


class AttrSegLine(Entry):
    """An item of AttrEval-RefSeg."""

    id: Id
    image: FileName
    height: Side
    width: Side
    expression: NotBlank
    attribute: str
    value: NotBlank
    segmentation: Any
    image_id: Id | None = None
    ann_id: Id | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_segmentation("segmentation", self.segmentation)
        check_kind("attribute", self.attribute)


@DATASETS.register_module()
class AttrSegDataset(GroundingDataset):
    """Referring segmentation whose expressions leave an attribute out, as ``tools/build_attreval.py`` writes it.

    A line is ``{"id": 0, "image": "a.jpg", "image_id": 7, "ann_id": 70, "height": 480, "width": 640, "expression": "front guy",
    "attribute": "color", "value": "red", "segmentation": RLE}``. A record asks "Please segment front guy.", has one region,
    and an :class:`~lira_plugin.structures.AttributeTruth`. Blank lines are passed over.

    Args:
        ann_file: the JSON Lines file.
        image_root: folder that ``image`` is relative to.
        source: name of the data set; metrics group by it.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        attributes: kinds to take, by default all.
        first: take only so many lines, the first; None takes all.
        on_bad_record: ``raise``, or ``skip`` to leave lines out that are not of this form, with a warning.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: ``first`` is not positive, nothing can be used, or, with ``on_bad_record='raise'``, lines are not of this form
            or an id occurs twice. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        source: str = "attreval/refseg",
        pipeline: Pipeline | None = None,
        attributes: tuple[AttributeKind, ...] | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, exif=exif)
        if first is not None and first < 1:
            raise ValueError(f"{source}: first must be positive, or None for all lines, got {first}")
        self.protocol |= {"files": [ann_file], "attributes": None if attributes is None else list(attributes)}
        self.protocol["first"] = first
        self._image_root = image_root
        self._records: list[Record] = []
        report, seen = ReaderReport(source, on_bad_record), set()
        for position, (_, value) in enumerate(read_lines(ann_file, "id")[:first]):
            name = id_of(value, position, "id")
            try:
                line = to_entry(value, AttrSegLine)
                if line.id in seen:
                    raise BadRecord("its id occurs twice; ids must be unique", repr(line.id), FaultKind.DUPLICATE_ID)
            except BadRecord as error:
                report.bad(ann_file, name, f"record {name} (position {position})", error)
                continue
            seen.add(line.id)
            if attributes is not None and line.attribute not in attributes:
                continue
            if is_empty_annotation(line.segmentation):
                report.taken(ann_file, name, EMPTY_EXPRESSION, "no answer finds it", kind=FaultKind.EMPTY_MASK)
            self._records.append(self._record(line))
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(ann_file, "line")

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; nothing is random."""
        return self._records[index]

    def _record(self, line: AttrSegLine) -> Record:
        turn = refer_turn(line.expression, 0)
        return Record(
            source=self.source,
            record_id=str(line.id),
            image_path=os.path.join(self._image_root, line.image),
            conversation=Conversation((turn,)),
            regions=(Region(turn.answer[: turn.spans[0].end], (line.segmentation,)),),
            size=(line.height, line.width),
            exif=self.exif,
            truth=AttributeTruth(line.attribute, line.value.strip().lower(), line.ann_id),
        )
