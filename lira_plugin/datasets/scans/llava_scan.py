"""Scans of LLaVA's conversations."""

import os
from typing import Any

from lira_plugin.datasets.annotation_files import id_of, read_list
from lira_plugin.datasets.findings import TAKEN, BadRecord
from lira_plugin.datasets.llava import parse_llava
from lira_plugin.datasets.scans.scan import ImageClaim, Scan, check_numbers
from lira_plugin.structures import FaultKind


def scan_llava(scan: Scan, settings: Any) -> None:
    """Scan the file of a :class:`~lira_plugin.datasets.LlavaDataset`."""
    path = settings.ann_file
    content = read_list(path, "a LLaVA file")
    scan.files.append(path)
    ids: set[Any] = set()
    seen: dict[Any, str] = {}
    for position, value in enumerate(content):
        record, unit = id_of(value, position, "id"), (position,)
        try:
            image, turns = parse_llava(value)
        except BadRecord as error:
            scan.bad(record, path, unit, error)
            continue
        scan.units.setdefault((record, ""), (record, path, unit))
        if value.get("id") is not None and not scan.check_id(ids, value["id"], record, path, unit):
            continue
        for turn in turns:
            scan.check_words(turn.question, record, path, unit, is_learnt=False)
            scan.check_words(turn.answer, record, path, unit)
        texts = tuple((turn.question.strip(), turn.answer.strip()) for turn in turns)
        first = seen.setdefault((image, texts), record)
        if first is not record:
            what = f"its conversation about {image!r} is that of record {first}"
            scan.add(FaultKind.DUPLICATE_SENTENCE, record, path, unit, what, TAKEN)
        elif len(set(texts)) < len(texts):
            scan.add(
                FaultKind.DUPLICATE_SENTENCE, record, path, unit, "a question is there twice with its answer", TAKEN
            )
        if image is not None:
            file = os.path.join(settings.image_root, image)
            scan.images.append(ImageClaim(record, path, unit, file, None, settings.exif))
    named = ((id_of(value, index, "id"), (index,), value) for index, value in enumerate(content))
    check_numbers(scan, path, named)
