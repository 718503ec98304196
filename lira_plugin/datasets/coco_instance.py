"""Instance segmentation of a COCO file."""

import os
from typing import Any

import msgspec
import numpy as np

from lira_plugin.datasets.annotation_files import CocoFile, load_coco, unknown_id
from lira_plugin.datasets.empty_masks import EMPTY_ANNOTATION
from lira_plugin.datasets.entries import CocoAnnotation
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.stored_reading import Reading, read_once
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, FaultKind, Record, Region, Turn, is_empty_annotation


@DATASETS.register_module()
class CocoInstanceDataset(GroundingDataset):
    """Instance segmentation of a COCO file: one record an image, one region per annotation in file order.

    The conversation is one empty turn: there is nothing to say to a segmenter. Crowd annotations and those whose mask has no
    pixel are left out, which is counted and logged. ``Region.category_id`` is the index of the category among the category ids
    in ascending order.

    Args:
        ann_file: COCO instances file.
        image_root: folder that ``file_name`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        seed: seed of the random choices.
        filter_empty: leave images without a region out (counted and logged).
        on_bad_record: ``raise``, or ``skip`` to leave images out of which an entry is bad.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: the file is not COCO's, no image is left, or, with ``on_bad_record='raise'``, an entry is not COCO's, an
            annotation has no segmentation, or names an unknown image or category. All of them are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str = "coco_instance",
        seed: int = 0,
        filter_empty: bool = False,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, seed, exif)
        report = ReaderReport(source, on_bad_record)
        self.protocol["files"] = [ann_file]
        settings = {"image_root": os.fspath(image_root), "filter_empty": filter_empty} | self._further_settings()
        reading = read_once(
            self, [ann_file], settings, report, lambda: self._parse(ann_file, image_root, filter_empty, report)
        )
        self._records, self._classes = reading.records, reading.classes
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(ann_file, "image")

    def _further_settings(self) -> dict[str, Any]:
        """Settings of a subclass that change its records, or what is drawn of them."""
        return {}

    def _parse(self, ann_file: str, image_root: str, filter_empty: bool, report: ReaderReport) -> Reading:
        coco = load_coco(ann_file)
        for fault in coco.faults:
            report.bad(
                ann_file, fault.where if fault.image_id is None else str(fault.image_id), fault.where, fault.error
            )
        indices = {category_id: index for index, category_id in enumerate(sorted(coco.categories))}
        classes = tuple(coco.categories[category_id].name for category_id in indices)
        records = []
        for image_id, annotations in coco.annotations_by_image().items():
            image = coco.images[image_id]
            regions, is_sound = self._regions(coco, str(image_id), annotations, indices, classes, report)
            if not is_sound:
                continue
            if filter_empty and not regions:
                report.left_out(ann_file, f"image {image_id}", "images without a region")
                continue
            records.append(
                Record(
                    source=self.source,
                    record_id=str(image_id),
                    image_path=os.path.join(image_root, image.file_name),
                    conversation=Conversation((Turn("", ""),)),
                    regions=regions,
                    size=(image.height, image.width),
                    exif=self.exif,
                )
            )
        return Reading(records, classes)

    def _regions(
        self,
        coco: CocoFile,
        image_id: str,
        annotations: list[CocoAnnotation],
        indices: dict[Any, int],
        classes: tuple[str, ...],
        report: ReaderReport,
    ) -> tuple[tuple[Region, ...], bool]:
        """The regions of an image, and whether all of its annotations are sound."""
        regions, is_sound = [], True
        for annotation in annotations:
            name = f"annotation {annotation.id}"
            try:
                if annotation.iscrowd:
                    report.left_out(coco.path, name, "crowd annotations")
                elif annotation.segmentation is msgspec.UNSET:
                    lacking = "it has no 'segmentation'; boxes alone do not serve"
                    raise BadRecord(lacking, kind=FaultKind.SEG_MASK_MISMATCH)
                elif is_empty_annotation(annotation.segmentation):
                    report.left_out(coco.path, name, EMPTY_ANNOTATION, kind=FaultKind.EMPTY_MASK)
                elif annotation.category_id not in indices:
                    raise unknown_id(
                        "category",
                        annotation.category_id,
                        indices,
                        "the categories of the file",
                        f"those are {list(indices)}",
                    )
                else:
                    index = indices[annotation.category_id]
                    regions.append(Region(classes[index], (annotation.segmentation,), index))
            except BadRecord as error:
                report.bad(coco.path, image_id, f"{name} of image {image_id}", error)
                is_sound = False
        return tuple(regions), is_sound

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories; ``Region.category_id`` counts through them."""
        return self._classes

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record of the image at ``index``; nothing is random."""
        return self._records[index]
