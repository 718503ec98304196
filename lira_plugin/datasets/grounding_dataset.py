"""The base of all data sets: records in, samples out."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
from mmengine.dataset import Compose
from mmengine.logging import print_log
from torch.utils.data import Dataset

from lira_plugin.datasets.findings import Finding
from lira_plugin.datasets.lengths import record_lengths
from lira_plugin.datasets.record_store import RecordStore
from lira_plugin.registry import TRANSFORMS
from lira_plugin.settings import WrongSetting, check_config, refuse_type, refuse_untyped
from lira_plugin.structures import ExifRule, GroundingSample, Record


class Draw(NamedTuple):
    """What a sampler hands to a data set: which record, and which draw of the training this is.

    All randomness of a sample (expressions chosen, question, crop jitter) comes from ``(seed, draw_index, index)``, so it
    does not depend on workers and a resumed training goes on with the same samples.

    Args:
        index: of the record in the data set.
        draw_index: draws before this one since the start of the training, over all processes.
    """

    index: int
    draw_index: int


Pipeline = Sequence[dict | Any] | Mapping[str, dict | Any]

STEPS = ("load", "decode", "letterbox", "views", "interleave", "tile", "tokenize", "pack")
"""Names of the steps of a pipeline, in their order. A config written into a work dir has its keys sorted by the alphabet."""


def build_pipeline(pipeline: Pipeline | None) -> Compose:
    """Build transforms, from a dict with ``record`` (:class:`Record`), ``rng`` (NumPy generator) and ``index`` to a sample.

    Args:
        pipeline: transforms or their configs in order, as a list, or by name (:data:`STEPS`, in which order they run) so
            that a recipe can change one of them (``train_dataloader.dataset.pipeline.interleave.prob=0.5``).

    Raises:
        ValueError: a name is none of :data:`STEPS`.
        WrongSetting: a transform has no such setting, or it is of another type.
    """
    refuse_type("pipeline", pipeline, Mapping | Sequence | None)
    if isinstance(pipeline, Mapping):
        unknown = sorted(set(pipeline) - set(STEPS))
        if unknown:
            raise ValueError(f"steps of a pipeline by name are {list(STEPS)}, got {unknown}; give a list for others")
        steps = {name: pipeline[name] for name in STEPS if name in pipeline}
    else:
        steps = {str(index): step for index, step in enumerate(pipeline or ())}
    for name, step in steps.items():
        refuse_untyped(step, f"pipeline.{name}")
        if not isinstance(step, Mapping) and not callable(step):
            raise WrongSetting(f"pipeline.{name} must be a transform or its config, got {step!r:.80}")
        check_config(step, f"pipeline.{name}")
    built = Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps.values()])
    built.names = list(steps)  # by which messages call them
    return built


class GroundingDataset(Dataset):
    """Base of the readers: a subclass reads one file format and builds a :class:`Record` from an index.

    Args:
        source: data set and split, such as ``refcoco/val``; metrics group by it.
        pipeline: see :func:`build_pipeline`; None inside of a mixture that has one for all.
        seed: seed of the random choices.
        exif: ``apply`` where the annotations are of upright images, ``ignore`` where they are of the pixels as stored. It
            concerns photographs with an EXIF orientation. For orientations 5 to 8 the annotated sizes tell, and a wrong setting
            is an error; the others cannot be told (:func:`~lira_plugin.datasets.transforms.needs_exif_decision`).

    ``findings`` is what the reader left out of its files, or doubted.

    Raises:
        ValueError: there is no such ``exif``.
    """

    def __init__(self, source: str, pipeline: Pipeline | None = None, seed: int = 0, exif: ExifRule = "apply") -> None:
        if exif not in get_args(ExifRule):
            raise ValueError(f"{source}: exif must be one of {list(get_args(ExifRule))}, got {exif!r}")
        self.exif = exif
        self.source = source
        self.seed = seed
        self.pipeline = build_pipeline(pipeline)
        self.findings: list[Finding] = []
        self.protocol: dict[str, Any] = {"files": [], "exif": exif}
        """What a score on this data depends on, in plain types: ``files`` (paths of the annotations) and settings by name."""

    def __len__(self) -> int:
        raise NotImplementedError

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """Build the record at ``index``; ``rng`` makes the choices that a format leaves open."""
        raise NotImplementedError

    def whole_records(self, index: int) -> Iterator[Record]:
        """Records that together hold all of the record at ``index``, also what a single draw leaves out."""
        yield self.get_record(index, np.random.default_rng(self.seed))

    @property
    def modality_length(self) -> list[int]:
        """Length of each record for samplers, see :func:`~lira_plugin.datasets.lengths.record_lengths`; no image is read."""
        return record_lengths(self, self.pipeline)

    @property
    def image_paths(self) -> list[str | None]:
        """The image of each record, None without one; records of one image are best evaluated in one batch."""
        records = getattr(self, "_records", None)
        if isinstance(records, RecordStore):
            return records.image_paths()
        rng = np.random.default_rng(self.seed)
        return [self.get_record(index, rng).image_path for index in range(len(self))]

    def protocols(self) -> dict[str, dict[str, Any]]:
        """What scores on this data depend on, by source: :attr:`protocol` and the count of tiles that images are cut into."""
        return {self.source: self.protocol | tiles_of(self.pipeline)}

    def __getitem__(self, draw: int | Draw) -> GroundingSample:
        index, draw_index = draw if isinstance(draw, Draw) else (int(draw), 0)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.source} has {len(self)} records, asked for index {index}")
        rng = np.random.default_rng((self.seed, draw_index, index))
        return self.pipeline({"record": self.get_record(index, rng), "rng": rng, "index": index})


def tiles_of(pipeline: Compose) -> dict[str, Any]:
    """``{"tiles": [fewest, most]}`` of the images, the thumbnail not counted; nothing where a pipeline cuts none."""
    steps = [step for step in pipeline.transforms if hasattr(step, "min_tiles")]
    return {"tiles": [steps[0].min_tiles, steps[0].max_tiles]} if steps else {}


def log_skipped(source: str, path: str, skipped: dict[str, list[str]], done: str = "left out") -> None:
    """Log what a reader left out, by reason: nothing is dropped in silence. ``done`` says what else was done with it."""
    for reason, records in skipped.items():
        if records:
            shown = ", ".join(records[:5]) + (", ..." if len(records) > 5 else "")
            print_log(
                f"{source}: {done} {len(records)} entries of {path}: {reason} ({shown})",
                logger="current",
                level=logging.WARNING,
            )
