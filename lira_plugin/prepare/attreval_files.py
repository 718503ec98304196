"""AttrEval from the files of RefCOCO and its like, written as JSON Lines beside a summary of what was taken and why."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lira_plugin.datasets.annotation_files import CocoFile, load_coco
from lira_plugin.datasets.empty_masks import EMPTY_EXPRESSION
from lira_plugin.datasets.entries import Ref
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.refer import (
    DEFAULT_SPLIT_BY,
    SUBSTRING_SPLITS,
    expressions_of,
    find_refs,
    read_refs,
    select_split,
)
from lira_plugin.evaluation.prediction_files import file_hashes
from lira_plugin.prepare.attreval import (
    DescribedObject,
    MissingAttribute,
    Selection,
    SelectionRule,
    limit_items,
    select_missing,
)
from lira_plugin.prepare.attreval_lines import REFSEG_FILE, VQA_FILE, lines_text, refseg_lines, vqa_lines
from lira_plugin.structures import (
    ATTRIBUTE_KINDS,
    AttributeKind,
    AttributeLexicon,
    DataFault,
    FaultKind,
    decode_segmentation,
    encode_mask,
)
from lira_plugin.version import __version__
from lira_plugin.written_aside import write_json, write_text

PAPER_QUESTIONS, PAPER_EXPRESSIONS = 1436, 618
"""Questions of AttrEval-VQA (718 pairs) and expressions of AttrEval-RefSeg in the paper (supplement, section 4)."""
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class ReferFiles:
    """What was read.

    Args:
        objects: each once, with the descriptions of all of its refs.
        files: paths by what they hold.
        groups: refs that name several objects or none, which are not asked about.
        categories: names in the file of instances.
    """

    objects: list[DescribedObject]
    files: dict[str, str]
    groups: int
    categories: tuple[str, ...]


def read_described(
    data_root: str | os.PathLike,
    dataset: str,
    splits: Sequence[str],
    split_by: str | None = None,
    on_bad_record: str = "raise",
) -> ReferFiles:
    """Read the objects of some splits with their descriptions.

    Args:
        data_root, dataset, split_by, on_bad_record: see :class:`~lira_plugin.datasets.ReferSegDataset`.
        splits: such as ``val``; a ref of several counts once.

    Raises:
        FileNotFoundError: there is no file of refs or instances.
        ValueError: the files are not of their form, a mask cannot be decoded, a split is unknown, or no split is given.
    """
    if not splits:
        raise ValueError("no split is given; those of RefCOCO are train, val, testA and testB")
    folder = os.path.join(data_root, dataset)
    refs_path = find_refs(folder, dataset, split_by or DEFAULT_SPLIT_BY.get(dataset))
    instances_path = os.path.join(folder, "instances.json")
    report = ReaderReport(f"{dataset}/{'+'.join(splits)}", on_bad_record)
    refs = list(read_refs(refs_path, report))
    wanted: dict[str, tuple[str, Ref]] = {}
    for split in splits:
        for where, ref in select_split(refs, refs_path, split, dataset not in SUBSTRING_SPLITS, report):
            wanted.setdefault(where, (where, ref))
    coco = load_coco(instances_path)
    for fault in coco.faults:
        report.bad(instances_path, fault.where, fault.where, fault.error)
    described: dict[Any, list[str]] = {}
    groups = 0
    for where, ref in wanted.values():
        try:
            expressions = list(expressions_of(ref, coco))
        except BadRecord as error:
            report.bad(refs_path, str(ref.ref_id), where, error)
            continue
        if expressions and len(expressions[0].ann_ids) != 1:
            groups += 1
            continue
        for expression in expressions:
            described.setdefault(expression.ann_ids[0], []).append(expression.label)
    objects = []
    for ann_id, texts in described.items():
        try:
            found = _object(ann_id, texts, coco)
        except DataFault as error:
            report.bad(instances_path, str(ann_id), f"annotation {ann_id}", BadRecord(str(error), kind=error.kind))
            continue
        if found is None:
            report.left_out(instances_path, str(ann_id), EMPTY_EXPRESSION, kind=FaultKind.EMPTY_MASK)
        else:
            objects.append(found)
    report.finish()
    names = tuple(category.name.strip().lower() for category in coco.categories.values())
    return ReferFiles(objects, {"refs": refs_path, "instances": instances_path}, groups, names)


def _object(ann_id: Any, texts: Sequence[str], coco: CocoFile) -> DescribedObject | None:
    """An object with its mask as RLE; None for one whose mask has no pixel.

    Raises:
        DataFault: its mask cannot be decoded.
    """
    annotation = coco.annotations[ann_id]
    image, category = coco.images[annotation.image_id], coco.categories.get(annotation.category_id)
    mask = decode_segmentation(annotation.segmentation, image.height, image.width)
    if not mask.any():
        return None
    return DescribedObject(
        ann_id=ann_id,
        image_id=image.id,
        image=image.file_name,
        height=image.height,
        width=image.width,
        segmentations=(encode_mask(mask),),
        descriptions=tuple(texts),
        category="" if category is None else category.name.strip().lower(),
    )


def build_attreval(
    read: ReferFiles,
    out: str | os.PathLike,
    lexicons: Mapping[AttributeKind, AttributeLexicon],
    rule: SelectionRule,
    num_questions: int | None = None,
    num_expressions: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write AttrEval's two files and their summary.

    Args:
        read: the objects.
        out: folder to write to, made where it is missing.
        lexicons: of the kinds in ``rule``.
        rule: which attributes are taken.
        num_questions: most questions to write, an even count; None writes all.
        num_expressions: most expressions to write; None writes all.
        settings: put into the summary as they are.

    Returns:
        The summary, in plain types.

    Raises:
        ValueError: ``num_questions`` is odd, a count is not positive, the lexicon has none of the categories of the data, or no
            attribute is found.
    """
    for name, count in (("num_questions", num_questions), ("num_expressions", num_expressions)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be positive, or None for all, got {count}")
    if num_questions is not None and num_questions % 2:
        raise ValueError(f"questions come in pairs, so num_questions must be even, got {num_questions}")
    if "category" in rule.kinds and read.categories and not set(read.categories) & set(lexicons["category"].values):
        raise ValueError(
            f"the lexicon of categories has none of those of {read.files['instances']} ({', '.join(read.categories[:6])}): give "
            "one that has (--lexicon category.txt), or leave the kind out (--kinds location color)"
        )
    found = select_missing(read.objects, lexicons, rule)
    askable = [item for item in found.items if item.false_value is not None]
    if not found.items:
        raise ValueError(f"{read.files['refs']}: no description leaves out what another one says; nothing to ask")
    pairs = limit_items(askable, None if num_questions is None else num_questions // 2, rule.seed)
    expressions = limit_items(found.items, num_expressions, rule.seed)
    summary = _summary(read, found, pairs, expressions) | {
        "settings": {
            **asdict(rule),
            "kinds": list(rule.kinds),
            "questions": num_questions,
            "expressions": num_expressions,
            **(settings or {}),
        },
        "files": file_hashes(read.files),
        "version": __version__,
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in ((VQA_FILE, vqa_lines(pairs)), (REFSEG_FILE, refseg_lines(expressions))):
        write_text(folder / name, lines_text(lines))
    write_json(folder / SUMMARY_FILE, summary, indent=1)
    return summary


def _summary(
    read: ReferFiles,
    found: Selection,
    pairs: Sequence[MissingAttribute],
    expressions: Sequence[MissingAttribute],
) -> dict[str, Any]:
    askable = Counter(item.kind for item in found.items if item.false_value is not None)
    return {
        "objects": len(read.objects),
        "descriptions": sum(len(set(thing.descriptions)) for thing in read.objects),
        "refs_of_several_objects_or_none": read.groups,
        "agreed": {kind: dict(sorted(counts.items())) for kind, counts in found.agreed.items()},
        "dropped": {kind: dict(sorted(counts.items())) for kind, counts in found.dropped.items()},
        "words": {kind: dict(sorted(counts.items())) for kind, counts in found.senses.items()},
        "found": {"pairs": _by_kind(askable), "expressions": _by_kind(Counter(item.kind for item in found.items))},
        "written": {
            "pairs": _by_kind(Counter(item.kind for item in pairs)),
            "questions": 2 * len(pairs),
            "expressions": _by_kind(Counter(item.kind for item in expressions)),
        },
        "paper": {"questions": PAPER_QUESTIONS, "expressions": PAPER_EXPRESSIONS},
        "paper_help": "the paper's exact selection is not published",
    }


def _by_kind(counts: Mapping[str, int]) -> dict[str, int]:
    return {kind: counts.get(kind, 0) for kind in ATTRIBUTE_KINDS} | {"all": sum(counts.values())}
