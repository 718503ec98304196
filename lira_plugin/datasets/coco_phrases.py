"""Referring segmentation of a plain COCO file: the category of an annotation is the phrase that asks for it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from lira_plugin.datasets.coco_instance import CocoInstanceDataset
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.stored_reading import Reading
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, Record, Region, refer_turn

NameRule = Literal["as_is", "lvis"]
"""How category names become phrases."""


@DATASETS.register_module()
class CocoPhraseDataset(CocoInstanceDataset):
    """Questions of the form "Please segment {category}." about one's own masks.

    Category names may be any phrases, such as ``the crack in the wall``, as files in the manner of LVIS have them. Annotations of
    one phrase in an image are one target: their masks are united.

    * Training (``num_expressions=N``): one record an image, up to N of its phrases as turns, drawn without replacement.
    * Evaluation (``num_expressions=None``): one record a phrase of an image, in file order.

    Names of LVIS (``names="lvis"``) become phrases with blanks for underscores: ``baseball bat``. What stands in parentheses
    stays, as in ``bow (weapon)``: without it things of other kinds would have one name, and be united. An image without
    ``file_name`` is named by the end of its ``coco_url``, so ``image_root`` holds ``train2017`` and ``val2017``.

    Images without an annotation are left out, which is counted and logged.

    Args:
        ann_file: COCO instances file.
        image_root: folder that ``file_name`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        num_expressions: most phrases a record when training; None for evaluation.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave images out of which an entry is bad.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.
        names: ``as_is``, or ``lvis``: how category names become phrases.

    Raises:
        ValueError: ``num_expressions`` is not positive, or as :class:`~lira_plugin.datasets.coco_instance.CocoInstanceDataset`.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str = "coco_phrases",
        num_expressions: int | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
        names: NameRule = "as_is",
    ) -> None:
        if num_expressions is not None and num_expressions < 1:
            raise ValueError(f"num_expressions must be positive, or None for evaluation, got {num_expressions}")
        self.num_expressions = num_expressions
        self.names = names
        super().__init__(ann_file, image_root, pipeline, source, seed, True, on_bad_record, exif)
        if names != "as_is":
            self.protocol["names"] = names

    def _further_settings(self) -> dict[str, Any]:
        return {"num_expressions": self.num_expressions, "names": self.names}

    def _parse(self, ann_file: str, image_root: str, filter_empty: bool, report: ReaderReport) -> Reading:
        reading = super()._parse(ann_file, image_root, filter_empty, report)
        images = [replace(record, regions=_united(record.regions, self.names)) for record in reading.records]
        if self.num_expressions is None:
            images = [
                replace(record, record_id=f"{record.record_id}-{region.category_id}", regions=(region,))
                for record in images
                for region in record.regions
            ]
        return Reading(images, reading.classes)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``: one phrase, or phrases drawn with ``rng`` for training."""
        regions = self._records[index].regions
        if self.num_expressions is not None:
            count = min(self.num_expressions, len(regions))
            regions = [regions[drawn] for drawn in rng.choice(len(regions), size=count, replace=False)]
        return self._asked(index, regions)

    def whole_records(self, index: int) -> Iterator[Record]:
        """All phrases of the record at ``index``, as many in a record as a draw takes."""
        regions, count = self._records[index].regions, self.num_expressions or 1
        for start in range(0, len(regions), count):
            yield self._asked(index, regions[start : start + count])

    def _asked(self, index: int, regions: Sequence[Region]) -> Record:
        turns = tuple(refer_turn(region.phrase, position) for position, region in enumerate(regions))
        return replace(self._records[index], conversation=Conversation(turns), regions=tuple(regions))


def phrase_of(name: str, names: NameRule) -> str:
    """The phrase that a category's name becomes."""
    return (name.replace("_", " ") if names == "lvis" else name).strip().lower()


def _united(regions: Sequence[Region], names: NameRule) -> tuple[Region, ...]:
    """One region a phrase, in the order in which phrases come first."""
    found: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        found[phrase_of(region.phrase, names)].append(region)
    return tuple(
        Region(phrase, tuple(mask for region in own for mask in region.segmentations), own[0].category_id)
        for phrase, own in found.items()
    )
