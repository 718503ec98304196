"""Where the phrases of a text stand: found by their words, or stated by a file, and free of overlap."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lira_plugin.datasets.findings import BadRecord
from lira_plugin.structures import FaultKind

COVERED = "a phrase lies inside of another one (the phrase is left out, not the record)"
ABSENT = "a phrase is not in the caption (the phrase is left out, not the record)"


class GroundedPhrase(NamedTuple):
    """The characters ``[start, end)`` of a caption with the segmentations whose union is their mask."""

    start: int
    end: int
    segmentations: tuple[Any, ...]


def caption_text(caption: str) -> str:
    """A caption as the published readers take it, before spans are counted: without quotes and blanks around it.

    So do LIRA's ``gcg_process.py`` and GLaMM's ``GranDf_gcg_ds.py``.
    """
    return caption.strip('"').strip()


def place_phrases(caption: str, phrases: Sequence[str]) -> list[tuple[int, int] | None]:
    """Find the characters ``[start, end)`` of each phrase so that no two overlap.

    Longer phrases choose first. A phrase takes its first occurrence that is free; occurrences inside words count only
    if there are no others. Where none is free, it takes what other phrases leave of one.

    Returns:
        The characters of each phrase; None where nothing is left, or where it is empty or does not occur.
    """
    placed: list[tuple[int, int] | None] = [None] * len(phrases)
    taken = np.zeros(len(caption), bool)
    for index in sorted(range(len(phrases)), key=lambda index: -len(phrases[index])):
        found = _occurrences(caption, phrases[index])
        free = [span for span in found if not taken[slice(*span)].any()]
        rests = free or [rest for span in found if (rest := _longest_rest(caption, taken, *span))]
        if rests:
            placed[index] = rests[0]
            taken[slice(*rests[0])] = True
    return placed


def _occurrences(caption: str, phrase: str) -> list[tuple[int, int]]:
    if not phrase:
        return []
    whole = re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", caption)
    spans = [match.span() for match in whole]
    return spans or [match.span(1) for match in re.finditer(f"(?=({re.escape(phrase)}))", caption)]


def _longest_rest(caption: str, taken: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """The longest run of characters in ``[start, end)`` that is not taken, without blanks at its ends."""
    text = "".join("\0" if taken[index] else caption[index] for index in range(start, end))
    runs = [match.span() for match in re.finditer(r"[^\0\s](?:[^\0]*[^\0\s])?", text)]
    if not runs:
        return None
    low, high = max(runs, key=lambda run: run[1] - run[0])
    return start + low, start + high


def merge_spans(caption: str, phrases: Sequence[GroundedPhrase]) -> tuple[list[GroundedPhrase], list[tuple[str, str]]]:
    """Make spans that a file states free of overlap.

    The masks of equal spans are united; a span inside of another one is left out.

    Returns:
        The phrases that stay, and (reason, what) of those left out.

    Raises:
        BadRecord: a span is empty or leaves the caption, or two spans cross.
    """
    united: dict[tuple[int, int], tuple[Any, ...]] = {}
    for start, end, segmentations in phrases:
        if not 0 <= start < end <= len(caption):
            outside = "a span is empty or leaves the caption"
            raise BadRecord(outside, f"[{start}, {end}) of {caption!r}", FaultKind.SPAN_OUTSIDE)
        united[start, end] = united.get((start, end), ()) + segmentations
    kept: list[GroundedPhrase] = []
    left_out = []
    for (start, end), segmentations in sorted(united.items(), key=lambda item: item[0][0] - item[0][1]):
        rivals = [phrase for phrase in kept if start < phrase.end and phrase.start < end]
        if any(phrase.start <= start and end <= phrase.end for phrase in rivals):
            left_out.append((COVERED, repr(caption[start:end])))
        elif rivals:
            pair = f"[{start}, {end}) and [{rivals[0].start}, {rivals[0].end}) of {caption!r}"
            raise BadRecord("two spans cross", pair, FaultKind.SPANS_CROSS)
        else:
            kept.append(GroundedPhrase(start, end, segmentations))
    return kept, left_out
