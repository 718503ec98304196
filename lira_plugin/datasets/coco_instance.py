"""Instance segmentation of a COCO file."""

import os
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import CocoFile, load_coco
from lira_plugin.datasets.empty_masks import EMPTY_ANNOTATION
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline, log_skipped
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, Record, Region, Turn, is_empty_annotation


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
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: the file is not COCO's, an annotation has no segmentation, or names an unknown image or category, or
            no image is left.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str = "coco_instance",
        seed: int = 0,
        filter_empty: bool = False,
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, seed, exif)
        coco = load_coco(ann_file)
        indices = {category_id: index for index, category_id in enumerate(sorted(coco.categories))}
        self._classes = tuple(coco.categories[category_id]["name"] for category_id in indices)
        skipped: dict[str, list[str]] = {"crowd annotations": [], "images without a region": []}
        self._records: list[Record] = []
        for image_id, annotations in coco.annotations_by_image().items():
            regions = []
            for annotation in annotations:
                if annotation.get("iscrowd"):
                    skipped["crowd annotations"].append(f"annotation {annotation['id']}")
                elif "segmentation" in annotation and is_empty_annotation(annotation["segmentation"]):
                    skipped.setdefault(EMPTY_ANNOTATION, []).append(f"annotation {annotation['id']}")
                else:
                    regions.append(self._region(coco, annotation, indices))
            if filter_empty and not regions:
                skipped["images without a region"].append(f"image {image_id}")
                continue
            image = coco.images[image_id]
            self._records.append(
                Record(
                    source=source,
                    record_id=str(image_id),
                    image_path=os.path.join(image_root, image["file_name"]),
                    conversation=Conversation((Turn("", ""),)),
                    regions=tuple(regions),
                    size=(image["height"], image["width"]),
                    exif=exif,
                )
            )
        log_skipped(source, ann_file, skipped)
        if not self._records:
            raise ValueError(f"{ann_file} holds no image that can be used (filter_empty={filter_empty})")

    def _region(self, coco: CocoFile, annotation: dict[str, Any], indices: dict[Any, int]) -> Region:
        if "segmentation" not in annotation:
            raise ValueError(
                f"{coco.path}: annotation {annotation['id']} has no 'segmentation'; boxes alone do not serve"
            )
        category_id = annotation.get("category_id")
        if category_id not in indices:
            raise ValueError(
                f"{coco.path}: annotation {annotation['id']} has category {category_id}, but the categories of the "
                f"file are {list(indices)}"
            )
        return Region(self._classes[indices[category_id]], (annotation["segmentation"],), indices[category_id])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories; ``Region.category_id`` counts through them."""
        return self._classes

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record of the image at ``index``; nothing is random."""
        return self._records[index]
