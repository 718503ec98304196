"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO in the layout of the REFER toolbox."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import CocoFile, load_coco, read_annotations
from lira_plugin.datasets.empty_masks import EMPTY_EXPRESSION, all_empty
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline, log_skipped
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, Record, Region, refer_turn

DEFAULT_SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}
"""The data sets of this layout, and who made the splits that are in common use."""


@dataclass(frozen=True)
class Expression:
    """One sentence about an image: lower-case text and the annotations it names, none if it has no target."""

    record_id: str
    image_id: Any
    label: str
    ann_ids: tuple[Any, ...]


def load_refs(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read a file of refs: a pickle of plain data where its name ends in ``.p``, else JSON.

    Raises:
        FileNotFoundError: there is no such file.
        pickle.UnpicklingError: the pickle wants more than plain data.
        ValueError: the file cannot be read or is not a list of dicts.
    """
    refs = read_annotations(path)
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise ValueError(f"{path} is not a file of refs: it must hold a list of dicts")
    return refs


@DATASETS.register_module()
class ReferSegDataset(GroundingDataset):
    """Referring segmentation: ``data_root/<dataset>/{refs(unc).p, instances.json}``.

    A ref is ``{ref_id, ann_id, image_id, split, sentences: [{sent, sent_id, ...}, ...], ...}``. The file is called
    ``refs(<split_by>)`` or, for gRefCOCO, ``grefs(<split_by>)``, and ends in ``.p`` or ``.json``. ``ann_id`` may be a
    list, whose masks are united; ``[]`` and ``[-1]`` mean that the sentence names nothing in the image.

    * Training (``num_expressions=N``): one record an image, up to N sentences as turns, drawn without replacement from
      all sentences of the image in this split. A sentence without target has a turn and no region.
    * Evaluation (``num_expressions=None``): one record a sentence, in file order, always with exactly one region; a
      sentence without target has a region without segmentations, which no span names.

    Sentences without text are left out, which is counted and logged. So are, of a training, those whose masks have no pixel;
    in an evaluation they count as targets that no answer finds.

    Args:
        data_root: folder that holds the folder of the data set.
        dataset: ``refcoco``, ``refcoco+``, ``refcocog`` or ``grefcoco``.
        split: ``train``, ``val``, ``test``, ``testA``, ``testB``. As in REFER, ``testA`` takes every ref whose split
            contains an A (``testB``: a B; ``test``: the word test); for gRefCOCO the split must be the same.
        image_root: folder that ``file_name`` in ``instances.json`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        split_by: who made the splits, ``unc`` or ``umd``; by default ``umd`` for RefCOCOg and ``unc`` for the others.
        num_expressions: most sentences a record when training; None for evaluation.
        seed: seed of the random choices.
        source: name for metrics; by default ``<dataset>/<split>``.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: there is no file of refs.
        ValueError: the data set or split is unknown, or a ref lacks a key or names an annotation or image that
            ``instances.json`` does not hold.
    """

    def __init__(
        self,
        data_root: str,
        dataset: str,
        split: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        split_by: str | None = None,
        num_expressions: int | None = None,
        seed: int = 0,
        source: str | None = None,
        exif: ExifRule = "apply",
    ) -> None:
        if dataset not in DEFAULT_SPLIT_BY:
            raise ValueError(f"unknown data set {dataset!r}; this layout has {sorted(DEFAULT_SPLIT_BY)}")
        if num_expressions is not None and num_expressions < 1:
            raise ValueError(f"num_expressions must be positive, or None for evaluation, got {num_expressions}")
        super().__init__(source or f"{dataset}/{split}", pipeline, seed, exif)
        self.num_expressions = num_expressions
        self._image_root = image_root
        folder = os.path.join(data_root, dataset)
        refs_path = _find_refs(folder, dataset, split_by or DEFAULT_SPLIT_BY[dataset])
        refs = _select_split(load_refs(refs_path), refs_path, split, exact=dataset == "grefcoco")
        coco = load_coco(os.path.join(folder, "instances.json"))
        skipped: dict[str, list[str]] = {"the sentence is empty": []}
        expressions, empty = [], []
        for position, ref in enumerate(refs):
            for expression in _read_ref(ref, position, refs_path, coco):
                if not expression.label:
                    skipped["the sentence is empty"].append(expression.record_id)
                    continue
                if all_empty(coco.annotations[ann_id]["segmentation"] for ann_id in expression.ann_ids):
                    empty.append(expression.record_id)
                    if num_expressions is not None:
                        continue
                expressions.append(expression)
        log_skipped(self.source, refs_path, skipped)
        if empty:
            done = "kept, as targets that no answer finds," if num_expressions is None else "left out"
            log_skipped(self.source, refs_path, {EMPTY_EXPRESSION: empty}, done)
        if not expressions:
            raise ValueError(f"{refs_path}: no sentence of split {split!r} has any text and a mask with a pixel")
        self._records = [(item,) for item in expressions] if num_expressions is None else _by_image(expressions)
        self._images = {item.image_id: coco.images[item.image_id] for item in expressions}
        self._annotations = {ann_id: coco.annotations[ann_id] for item in expressions for ann_id in item.ann_ids}

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``: one sentence, or sentences drawn with ``rng`` for training."""
        evaluation = self.num_expressions is None
        expressions = self._records[index]
        record_id = expressions[0].record_id if evaluation else str(expressions[0].image_id)
        if self.num_expressions is not None:
            count = min(self.num_expressions, len(expressions))
            expressions = [expressions[index] for index in rng.choice(len(expressions), size=count, replace=False)]
        turns, regions = [], []
        for expression in expressions:
            turns.append(refer_turn(expression.label, len(regions) if expression.ann_ids else None))
            if expression.ann_ids or evaluation:
                regions.append(self._region(expression))
        image = self._images[expressions[0].image_id]
        return Record(
            source=self.source,
            record_id=record_id,
            image_path=os.path.join(self._image_root, image["file_name"]),
            conversation=Conversation(tuple(turns)),
            regions=tuple(regions),
            size=(image["height"], image["width"]),
            exif=self.exif,
        )

    def _region(self, expression: Expression) -> Region:
        annotations = [self._annotations[ann_id] for ann_id in expression.ann_ids]
        categories = {annotation.get("category_id", -1) for annotation in annotations}
        return Region(
            phrase=expression.label,
            segmentations=tuple(annotation["segmentation"] for annotation in annotations),
            category_id=categories.pop() if len(categories) == 1 else -1,
        )


def _find_refs(folder: str, dataset: str, split_by: str) -> str:
    stem, suffixes = ("grefs", (".json", ".p")) if dataset == "grefcoco" else ("refs", (".p", ".json"))
    candidates = [os.path.join(folder, f"{stem}({split_by}){suffix}") for suffix in suffixes]
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(
        f"neither {candidates[0]} nor {candidates[1]} exists; check data_root, dataset ({dataset!r}) and split_by "
        f"({split_by!r}) against the files"
    )


def _select_split(refs: list[dict[str, Any]], path: str, split: str, exact: bool) -> list[dict[str, Any]]:
    for position, ref in enumerate(refs):
        if not isinstance(ref.get("split"), str):
            raise ValueError(f"{path}: ref {ref.get('ref_id', f'at position {position}')} has no 'split'")
    part = None if exact else {"testA": "A", "testB": "B", "test": "test"}.get(split)
    selected = [ref for ref in refs if (part in ref["split"] if part else ref["split"] == split)]
    if not selected:
        raise ValueError(
            f"{path} has no ref of split {split!r}; its splits are {sorted({ref['split'] for ref in refs})}"
        )
    return selected


def _read_ref(ref: dict[str, Any], position: int, path: str, coco: CocoFile) -> Iterator[Expression]:
    ref_id = ref.get("ref_id", f"at position {position} of the split")
    missing = [key for key in ("ref_id", "ann_id", "image_id", "sentences") if key not in ref]
    if missing:
        raise ValueError(f"{path}: ref {ref_id} lacks {missing}")
    same_release = "take both files from the same release"
    image_id = ref["image_id"]
    if image_id not in coco.images:
        raise ValueError(
            f"{path}: ref {ref_id} names image {image_id}, which {coco.path} does not hold; {same_release}"
        )
    ann_ids = tuple(ref["ann_id"]) if isinstance(ref["ann_id"], list | tuple) else (ref["ann_id"],)
    if ann_ids == (-1,):
        ann_ids = ()
    for ann_id in ann_ids:
        annotation = coco.annotations.get(ann_id)
        if annotation is None:
            raise ValueError(
                f"{path}: ref {ref_id} names annotation {ann_id}, which {coco.path} does not hold; {same_release}"
            )
        if annotation["image_id"] != image_id:
            raise ValueError(
                f"{path}: ref {ref_id} is about image {image_id}, but its annotation {ann_id} belongs to image "
                f"{annotation['image_id']} in {coco.path}; {same_release}"
            )
        if "segmentation" not in annotation:
            raise ValueError(
                f"{path}: ref {ref_id} names annotation {ann_id}, which has no 'segmentation' in {coco.path}"
            )
    for index, sentence in enumerate(ref["sentences"]):
        if not isinstance(sentence, dict) or not isinstance(sentence.get("sent"), str):
            raise ValueError(f"{path}: sentence {index} of ref {ref_id} has no text 'sent'")
        label = sentence["sent"].strip().lower()
        yield Expression(f"{ref_id}-{sentence.get('sent_id', index)}", image_id, label, ann_ids)


def _by_image(expressions: list[Expression]) -> list[tuple[Expression, ...]]:
    grouped: dict[Any, list[Expression]] = {}
    for expression in expressions:
        grouped.setdefault(expression.image_id, []).append(expression)
    return [tuple(group) for group in grouped.values()]
