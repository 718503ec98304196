"""Scans of LLaVA's conversations."""

import os
from collections import Counter
from typing import Any

from lira_plugin.datasets.annotation_files import id_of, read_list
from lira_plugin.datasets.findings import TAKEN, BadRecord
from lira_plugin.datasets.llava import parse_llava
from lira_plugin.datasets.scans.scan import ImageClaim, Scan
from lira_plugin.datasets.scans.unread import check_unread
from lira_plugin.structures import FaultKind


def scan_llava(scan: Scan, settings: Any) -> None:
    """Scan the file of a :class:`~lira_plugin.datasets.LlavaDataset`."""
    path = settings.ann_file
    content = read_list(path, "a LLaVA file")
    scan.files.append(path)
    counts = Counter(id_of(value, position, "id") for position, value in enumerate(content))
    seen: dict[Any, int] = {}
    for position, value in enumerate(content):
        record, unit = id_of(value, position, "id"), (position,)
        try:
            image, turns = parse_llava(value)
        except BadRecord as error:
            scan.bad(record, path, unit, error)
            continue
        names = [""] if counts[record] == 1 else [f"{turn.question}\n{turn.answer}" for turn in turns]
        for name in names:  # conversations may share an id, as those of LLaVA-150K do: their turns tell them apart
            scan.units.setdefault((record, name), (record, path, unit))
        for turn in turns:
            scan.check_words(turn.question, record, path, unit, is_learnt=False)
            scan.check_words(turn.answer, record, path, unit)
        texts = tuple((turn.question.strip(), turn.answer.strip()) for turn in turns)
        first = seen.setdefault((image, texts), position)
        if first != position:
            other = id_of(content[first], first, "id")
            what = f"its conversation about {image!r} is that of record {other} (position {first})"
            scan.add(FaultKind.DUPLICATE_SENTENCE, record, path, unit, what, TAKEN)
        elif len(set(texts)) < len(texts):
            scan.add(
                FaultKind.DUPLICATE_SENTENCE, record, path, unit, "a question is there twice with its answer", TAKEN
            )
        if image is not None:
            file = os.path.join(settings.image_root, image)
            scan.images.append(ImageClaim(record, path, unit, file, None, settings.exif))
    named = ((id_of(value, index, "id"), (index,), value) for index, value in enumerate(content))
    check_unread(scan, path, named)
