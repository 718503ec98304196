"""AttrEval's items as the lines of its two files."""

from collections.abc import Iterable
from typing import Any

from lira_plugin.prepare.attreval import MissingAttribute
from lira_plugin.structures import decode_union, encode_mask
from lira_plugin.structures.attribute_prompts import attribute_question
from lira_plugin.written_aside import json_line

VQA_FILE, REFSEG_FILE = "attreval_vqa.jsonl", "attreval_refseg.jsonl"


def lines_text(lines: Iterable[dict[str, Any]]) -> str:
    """The text of a JSON Lines file."""
    return "".join(json_line(line) + "\n" for line in lines)


def vqa_lines(items: Iterable[MissingAttribute]) -> list[dict[str, Any]]:
    """AttrEval-VQA: for each item with a false value a question to be answered by yes, then one to be answered by no."""
    lines: list[dict[str, Any]] = []
    for item in items:
        if item.false_value is None:
            continue
        for value, answer in ((item.value, "yes"), (item.false_value, "no")):
            lines.append(
                {
                    "image": item.object.image,
                    "question": attribute_question(item.expression, item.kind, value),
                    "question_id": len(lines),
                    "answer": answer,
                    "attribute": item.kind,
                    "value": value,
                    "ann_id": item.object.ann_id,
                }
            )
    return lines


def refseg_lines(items: Iterable[MissingAttribute]) -> list[dict[str, Any]]:
    """AttrEval-RefSeg: expression, kind and true value of the attribute that it leaves out, and mask."""
    return [
        {
            "id": index,
            "image": item.object.image,
            "image_id": item.object.image_id,
            "ann_id": item.object.ann_id,
            "height": item.object.height,
            "width": item.object.width,
            "expression": item.expression,
            "attribute": item.kind,
            "value": item.value,
            "segmentation": encode_mask(decode_union(item.object.segmentations, item.object.height, item.object.width)),
        }
        for index, item in enumerate(items)
    ]
