"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO in the layout of the REFER toolbox."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import escape as glob_escape
from glob import glob
from typing import Any, Literal

import msgspec
import numpy as np

from lira_plugin.datasets.annotation_files import CocoFile, id_of, load_coco, read_list, unknown_id
from lira_plugin.datasets.empty_masks import EMPTY_EXPRESSION, all_empty
from lira_plugin.datasets.entries import Id, Ref, to_entry
from lira_plugin.datasets.findings import BadRecord, NoRecords
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.stored_reading import Reading, read_once
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, FaultKind, Record, Region, refer_turn

DEFAULT_SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}
"""The published data sets of this layout, and who made the splits that are in common use."""
SUBSTRING_SPLITS = ("refcoco", "refcoco+", "refcocog")
"""Data sets of which REFER reads a split by what its name contains."""
_SPLIT = re.compile(r"train|val|test[A-C]*")
"""Splits of REFER's files; ``testAB`` belongs to testA and to testB."""

SentenceRule = Literal["sentence", "object"]
"""What counts once in an evaluation: each sentence, or each ref with its first sentence."""


@dataclass(frozen=True)
class Expression:
    """One sentence about an image: lower-case text and the annotations it names, none if it has no target."""

    record_id: str
    image_id: Any
    label: str
    ann_ids: tuple[Any, ...]


@DATASETS.register_module()
class ReferSegDataset(GroundingDataset):
    """Referring segmentation: ``data_root/<dataset>/{refs(unc).p, instances.json}``.

    A ref is ``{ref_id, ann_id, image_id, split, sentences: [{sent, sent_id, ...}, ...], ...}``. The file is called
    ``refs(<split_by>)`` or, for gRefCOCO, ``grefs(<split_by>)``, and ends in ``.p`` or ``.json``. ``ann_id`` may be a
    list, whose masks are united; ``[]`` and ``[-1]`` mean that the sentence names nothing in the image.

    * Training (``num_expressions=N``): one record an image, up to N sentences as turns, drawn without replacement from
      all sentences of the image in this split. A sentence without target has a turn and no region.
    * Evaluation (``num_expressions=None``): one record a sentence, in file order, always with exactly one region; a
      sentence without target has a region without segmentations, which no span names. ``per="object"`` keeps the first
      sentence of each ref alone. Scores of the two are not comparable: exported sets come once per object (``val``) and once
      per sentence (``val_all``).

    Sentences without text and refs without sentences are left out, which is counted and logged, as are refs whose split is
    none of REFER's (``train``, ``val``, ``test``, ``testA``, ``testB``, ``testAB``). So are, of a training, sentences whose masks
    have no pixel; in an evaluation they count as targets that no answer finds.

    Args:
        data_root: folder that holds the folder of the data set.
        dataset: ``refcoco``, ``refcoco+``, ``refcocog``, ``grefcoco``, or the name of your own.
        split: ``train``, ``val``, ``test``, ``testA``, ``testB``. As in REFER, ``testA`` takes every ref whose split
            contains an A (``testB``: a B; ``test``: the word test); for gRefCOCO and your own the split must be the same.
        image_root: folder that ``file_name`` in ``instances.json`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        split_by: who made the splits, ``unc`` or ``umd``; by default ``umd`` for RefCOCOg, ``unc`` for the other published
            ones, and for your own the file of refs that there is.
        num_expressions: most sentences a record when training; None for evaluation.
        per: ``sentence`` or ``object``: what is evaluated once.
        seed: seed of the random choices.
        source: name for metrics; by default ``<dataset>/<split>``.
        on_bad_record: ``raise``, or ``skip`` to leave bad refs out.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: there is no file of refs.
        ValueError: the split is unknown, there are several files of refs to choose from, or, with ``on_bad_record='raise'``, a
            ref of the split or an entry of ``instances.json`` is not of its format, or a ref names an annotation or image that
            ``instances.json`` does not hold.
            All of them are named at once.
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
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
        per: SentenceRule = "sentence",
    ) -> None:
        if per == "object" and num_expressions is not None:
            raise ValueError(
                f"per='object' is for evaluation, but num_expressions={num_expressions}: leave one of them out"
            )
        if num_expressions is not None and num_expressions < 1:
            raise ValueError(f"num_expressions must be positive, or None for evaluation, got {num_expressions}")
        super().__init__(source or f"{dataset}/{split}", pipeline, seed, exif)
        self.num_expressions = num_expressions
        folder = os.path.join(data_root, dataset)
        refs_path = find_refs(folder, dataset, split_by or DEFAULT_SPLIT_BY.get(dataset))
        instances_path = os.path.join(folder, "instances.json")
        report = ReaderReport(self.source, on_bad_record)
        self.protocol |= {"files": [refs_path, instances_path], "per": per}
        exact = dataset not in SUBSTRING_SPLITS
        settings = {"image_root": os.fspath(image_root), "split": split, "exact": exact, "per": per}
        self._records = read_once(
            self,
            [refs_path, instances_path],
            settings | {"num_expressions": num_expressions},
            report,
            lambda: self._parse(refs_path, instances_path, image_root, split, exact, per, report),
        ).records
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(refs_path, f"sentence of split {split!r}")

    def _parse(
        self,
        refs_path: str,
        instances_path: str,
        image_root: str,
        split: str,
        exact: bool,
        per: SentenceRule,
        report: ReaderReport,
    ) -> Reading:
        """Each image with all of its sentences for training, or each sentence."""
        num_expressions = self.num_expressions
        refs = select_split(read_refs(refs_path, report), refs_path, split, exact, report)
        coco = load_coco(instances_path)
        for fault in coco.faults:
            report.bad(instances_path, fault.where, fault.where, fault.error)
        expressions = []
        for where, ref in refs:
            try:
                sentences = list(expressions_of(ref, coco))
            except BadRecord as error:
                report.bad(refs_path, str(ref.ref_id), where, error)
                continue
            if not sentences:
                report.left_out(refs_path, str(ref.ref_id), "the ref has no sentence", kind=FaultKind.EMPTY_TEXT)
            for expression in sentences:
                empty = all_empty(coco.annotations[ann_id].segmentation for ann_id in expression.ann_ids)
                if not expression.label:
                    report.left_out(refs_path, expression.record_id, "the sentence is empty", kind=FaultKind.EMPTY_TEXT)
                elif empty and num_expressions is not None:
                    report.left_out(refs_path, expression.record_id, EMPTY_EXPRESSION, kind=FaultKind.EMPTY_MASK)
                else:
                    expressions.append(expression)
                    if empty:
                        report.taken(
                            refs_path,
                            expression.record_id,
                            EMPTY_EXPRESSION,
                            "no answer finds it",
                            kind=FaultKind.EMPTY_MASK,
                        )
                    if per == "object":
                        break
        groups = [(item,) for item in expressions] if num_expressions is None else _by_image(expressions)
        return Reading([self._record(group, coco, image_root) for group in groups])

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``: one sentence, or sentences drawn with ``rng`` for training."""
        record = self._records[index]
        if self.num_expressions is None:
            return record
        count = len(record.conversation.turns)
        return _with_turns(record, rng.choice(count, size=min(self.num_expressions, count), replace=False))

    def whole_records(self, index: int) -> Iterator[Record]:
        """All sentences of the record at ``index``, as many in a record as a draw takes."""
        record, step = self._records[index], self.num_expressions
        if step is None:
            yield record
            return
        indices = range(len(record.conversation.turns))
        for start in indices[::step]:
            yield _with_turns(record, indices[start : start + step])

    def _record(self, expressions: Sequence[Expression], coco: CocoFile, image_root: str) -> Record:
        evaluation = self.num_expressions is None
        turns, regions = [], []
        for expression in expressions:
            turns.append(refer_turn(expression.label, len(regions) if expression.ann_ids else None))
            if expression.ann_ids or evaluation:
                regions.append(_region(expression, coco))
        image = coco.images[expressions[0].image_id]
        return Record(
            source=self.source,
            record_id=expressions[0].record_id if evaluation else str(expressions[0].image_id),
            image_path=os.path.join(image_root, image.file_name),
            conversation=Conversation(tuple(turns)),
            regions=tuple(regions),
            size=(image.height, image.width),
            exif=self.exif,
        )


def _with_turns(record: Record, indices: Iterable[int]) -> Record:
    """A record with some of its turns, each about one region or none, in another order."""
    turns, regions = [], []
    for index in indices:
        turn = record.conversation.turns[index]
        spans = tuple(replace(span, region=len(regions)) for span in turn.spans)
        regions += [record.regions[span.region] for span in turn.spans]
        turns.append(replace(turn, spans=spans))
    return replace(record, conversation=Conversation(tuple(turns)), regions=tuple(regions))


def _region(expression: Expression, coco: CocoFile) -> Region:
    annotations = [coco.annotations[ann_id] for ann_id in expression.ann_ids]
    categories = {annotation.category_id for annotation in annotations}
    category_id = categories.pop() if len(categories) == 1 else None
    return Region(
        phrase=expression.label,
        segmentations=tuple(annotation.segmentation for annotation in annotations),
        category_id=-1 if category_id is None else category_id,
    )


def find_refs(folder: str, dataset: str, split_by: str | None) -> str:
    """The file of refs of a data set; without ``split_by`` the only one that there is.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several to choose from.
    """
    if split_by is None:
        found = sorted(glob(os.path.join(glob_escape(folder), "*refs(*).*")))
        if len(found) == 1:
            return found[0]
        there = (
            "files of refs are " + ", ".join(map(os.path.basename, found)) if found else "is no file refs(NAME).json"
        )
        raise (ValueError if found else FileNotFoundError)(
            f"in {folder} there {there}; say with split_by which NAME to read, or check data_root and dataset ({dataset!r})"
        )
    stem, suffixes = ("grefs", (".json", ".p")) if dataset == "grefcoco" else ("refs", (".p", ".json"))
    candidates = [os.path.join(folder, f"{stem}({split_by}){suffix}") for suffix in suffixes]
    for path in candidates:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(
        f"neither {candidates[0]} nor {candidates[1]} exists; check data_root, dataset ({dataset!r}) and split_by "
        f"({split_by!r}) against the files"
    )


def read_refs(path: str, report: ReaderReport) -> Iterator[tuple[str, Ref]]:
    """The sound refs of a file with what messages call them; the others are reported."""
    seen: set[Id] = set()
    for position, value in enumerate(read_list(path, "a file of refs")):
        ref_id = id_of(value, position, "ref_id")
        where = f"ref {ref_id} (position {position})"
        try:
            ref = to_entry(value, Ref)
        except BadRecord as error:
            report.bad(path, ref_id, where, error)
            continue
        if ref.ref_id in seen:
            twice = "several refs have one 'ref_id', so that their sentences have one name"
            report.taken(path, ref_id, twice, kind=FaultKind.DUPLICATE_ID)
        seen.add(ref.ref_id)
        yield where, ref


def select_split(
    refs: Iterable[tuple[str, Ref]], path: str, split: str, exact: bool, report: ReaderReport
) -> list[tuple[str, Ref]]:
    """The refs of a split; those of a split that is none of REFER's are reported, as a spelling may be wrong."""
    part = None if exact else {"testA": "A", "testB": "B", "test": "test"}.get(split)
    selected, splits = [], Counter()
    for where, ref in refs:
        splits[ref.split] += 1
        if part in ref.split if part else ref.split == split:
            selected.append((where, ref))
        elif not _SPLIT.fullmatch(ref.split):
            rule = f"the split is {ref.split!r}, which is none of train, val, test, testA, testB"
            report.left_out(path, str(ref.ref_id), rule)
    if not selected:
        report.finish()
        raise NoRecords(f"{path} has no ref of split {split!r}; its splits are {sorted(splits)}", report.findings)
    return selected


def expressions_of(ref: Ref, coco: CocoFile) -> Iterator[Expression]:
    """The sentences of a ref with the annotations that they name.

    Raises:
        BadRecord: the ref and ``instances.json`` do not belong together.
    """
    same_release, among = "take both files from the same release", f"the sound ones of {coco.path}"
    if ref.image_id not in coco.images:
        raise unknown_id("image", ref.image_id, coco.images, among, same_release)
    ann_ids = tuple(ref.ann_id) if isinstance(ref.ann_id, list) else (ref.ann_id,)
    if ann_ids == (-1,):
        ann_ids = ()
    for ann_id in ann_ids:
        annotation = coco.annotations.get(ann_id)
        if annotation is None:
            raise unknown_id("annotation", ann_id, coco.annotations, among, same_release)
        if annotation.image_id != ref.image_id:
            raise BadRecord(
                "it is about another image than its annotation",
                f"image {ref.image_id!r}, but annotation {ann_id!r} belongs to image {annotation.image_id!r} in {coco.path}; "
                f"{same_release}",
                FaultKind.UNKNOWN_ID,
            )
        if annotation.segmentation is msgspec.UNSET:
            lacking = "it names an annotation without 'segmentation'"
            raise BadRecord(lacking, f"{ann_id!r} in {coco.path}", FaultKind.SEG_MASK_MISMATCH)
        if isinstance(annotation.category_id, str):
            raise BadRecord(
                "it names an annotation whose 'category_id' is no whole number",
                f"{annotation.category_id!r} of annotation {ann_id!r} in {coco.path}",
            )
    for index, sentence in enumerate(ref.sentences):
        sentence_id = index if sentence.sent_id is None else sentence.sent_id
        yield Expression(f"{ref.ref_id}-{sentence_id}", ref.image_id, sentence.sent.strip().lower(), ann_ids)


def _by_image(expressions: list[Expression]) -> list[tuple[Expression, ...]]:
    grouped: dict[Any, list[Expression]] = {}
    for expression in expressions:
        grouped.setdefault(expression.image_id, []).append(expression)
    return [tuple(group) for group in grouped.values()]
