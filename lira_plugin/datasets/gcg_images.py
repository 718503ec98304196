"""Images to be described with grounded captions, of GLaMM's val and test files of GranDf."""

import os
from collections.abc import Sequence

import numpy as np

from lira_plugin.datasets.grounding_dataset import Draw, GroundingDataset, Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import (
    GCG_QUESTIONS,
    Conversation,
    ExifRule,
    GCGTruth,
    GroundingSample,
    Record,
    Region,
    Turn,
    read_gcg_truth,
)

REFERENCE_ORDER = (1, 0, 2, 3, 4, 5)
"""Indices into :data:`GCG_QUESTIONS` in the order in which LIRA's ``omg_llava/tools/gcg_lira.py`` asks."""


@DATASETS.register_module()
class GCGTestDataset(GroundingDataset):
    """One record an image: a question of the pool, and the true regions; in the order of the image ids.

    The first question of the pool is asked; a further draw of a record asks the next one (:class:`Draw`), as
    :class:`~lira_plugin.hooks.RetryTestLoop` does where an answer has no mask.

    Args:
        ann_root: folder of the ground truth, see :func:`~lira_plugin.structures.read_gcg_truth`.
        split: ``val`` or ``test``.
        image_root: folder that the file names of images are relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name for metrics; by default ``gcg/<split>``.
        seed: seed of the random choices; there are none.
        questions: the pool, as indices into :data:`GCG_QUESTIONS` in the order in which they are asked.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: a file of the ground truth is not there.
        ValueError: it is not of its layout, or the pool is empty or names a question that there is not.
    """

    def __init__(
        self,
        ann_root: str,
        split: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str | None = None,
        seed: int = 0,
        questions: Sequence[int] = REFERENCE_ORDER,
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source or f"gcg/{split}", pipeline, seed, exif)
        unknown = [index for index in questions if index not in range(len(GCG_QUESTIONS))]
        if unknown or not questions:
            raise ValueError(f"questions must be indices 0..{len(GCG_QUESTIONS) - 1}, at least one, got {questions!r}")
        self.questions = tuple(questions)
        self._image_root = image_root
        self._truths = [truth for truth in read_gcg_truth(ann_root, split).values() if truth.is_described]

    def __len__(self) -> int:
        return len(self._truths)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The image at ``index`` with the first question of the pool."""
        return self._record(self._truths[index], self.questions[0])

    def __getitem__(self, draw: int | Draw) -> GroundingSample:
        index, draw_index = draw if isinstance(draw, Draw) else (int(draw), 0)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.source} has {len(self)} records, asked for index {index}")
        rng = np.random.default_rng((self.seed, draw_index, index))
        record = self._record(self._truths[index], self.questions[draw_index % len(self.questions)])
        return self.pipeline({"record": record, "rng": rng, "index": index})

    def _record(self, truth: GCGTruth, question_index: int) -> Record:
        phrases = [*truth.phrases, *[""] * len(truth.segmentations)]
        return Record(
            source=self.source,
            record_id=truth.image_id,
            image_path=os.path.join(self._image_root, truth.file_name),
            conversation=Conversation((Turn(GCG_QUESTIONS[question_index], next(iter(truth.captions), "")),)),
            regions=tuple(Region(phrase, (mask,)) for phrase, mask in zip(phrases, truth.segmentations)),
            size=truth.size,
            exif=self.exif,
        )
