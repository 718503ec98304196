"""AttrEval: what the several descriptions of an object agree on, and which of them leave it out.

An item asks for an attribute that its expression does not say, but that other descriptions of the same object do. So the paper
builds its set from RefCOCO (supplement, section 4); its exact selection is not published. Everything here is a pure function of
the objects and the seed: neither the order of the objects nor that of their descriptions matters.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lira_plugin.prepare.attreval_words import ExpressionReader, Mention
from lira_plugin.structures import ATTRIBUTE_KINDS, AttributeKind, AttributeLexicon, decode_union

Sortable = tuple[str, Any]


@dataclass(frozen=True)
class DescribedObject:
    """An object with what people call it.

    Args:
        ann_id: of its annotation, unique.
        image_id: of its image.
        image: file name of the image.
        height, width: of the image in pixels.
        segmentations: annotations whose union is its mask, see :class:`~lira_plugin.structures.Region`.
        descriptions: in any order; equal ones count once.
        category: name of its category as the annotations have it, ``""`` where they say none.
    """

    ann_id: int | str
    image_id: int | str
    image: str
    height: int
    width: int
    segmentations: tuple[Any, ...]
    descriptions: tuple[str, ...]
    category: str = ""

    @property
    def key(self) -> tuple[Sortable, Sortable]:
        """By which objects are put in order, whatever the types of their ids."""
        return (type(self.image_id).__name__, self.image_id), (type(self.ann_id).__name__, self.ann_id)


@dataclass(frozen=True)
class SelectionRule:
    """Which attributes are asked for.

    Args:
        kinds: of attributes.
        min_agree: least count of descriptions that must say an attribute.
        per_object: most descriptions of an object that are asked about the same kind.
        check_image: take a location of the image's axes only where the centre of the mask agrees: "left" within a group can be
            on the right of the image, where "Is it on the right?" has another answer.
        seed: of all choices.
    """

    kinds: tuple[AttributeKind, ...] = ATTRIBUTE_KINDS
    min_agree: int = 1
    per_object: int = 1
    check_image: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.kinds or set(self.kinds) - set(ATTRIBUTE_KINDS):
            raise ValueError(f"kinds must be some of {', '.join(ATTRIBUTE_KINDS)}, got {list(self.kinds)}")
        for name in ("min_agree", "per_object"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class MissingAttribute:
    """An expression that leaves an attribute of its object out.

    Args:
        object: that it describes.
        expression: which has no word for this kind.
        kind, value: of the attribute, which other descriptions say.
        false_value: of the same kind, which is not true of the object; None where there is none to be sure of.
    """

    object: DescribedObject
    expression: str
    kind: AttributeKind
    value: str
    false_value: str | None = None


@dataclass
class Selection:
    """What was found, and why the rest was not taken.

    Args:
        items: in the order of images and objects.
        agreed: how many objects have each value, by kind.
        dropped: by kind, how many attributes of objects (or items, for ``no false value``) were dropped for each reason.
        senses: by kind, how many words of descriptions were taken in each sense.
    """

    items: list[MissingAttribute] = field(default_factory=list)
    agreed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    senses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def select_missing(
    objects: Iterable[DescribedObject], lexicons: Mapping[AttributeKind, AttributeLexicon], rule: SelectionRule
) -> Selection:
    """Find the attributes that some description of an object leaves out and others agree on.

    An object's attribute is dropped, and counted in :attr:`Selection.dropped`, where

    * ``contradiction``: descriptions say different values that exclude one another, or deny what others say;
    * ``several values``: a description says two of them;
    * ``other category``: the annotation has another category than the descriptions say;
    * ``elsewhere in the image``: see :attr:`SelectionRule.check_image`;
    * ``too few descriptions``: fewer than :attr:`SelectionRule.min_agree` say it;
    * ``ambiguous words``: the words for it can be taken in several ways, and no description says it clearly;
    * ``always mentioned``: no description is without a word of its kind.

    Args:
        objects: with their descriptions.
        lexicons: of the kinds in ``rule``.
        rule: which to take.
    """
    reader, found = ExpressionReader(lexicons), Selection()
    read: list[tuple[DescribedObject, dict[str, tuple[Mention, ...]]]] = []
    for thing in sorted(objects, key=lambda thing: thing.key):
        texts = sorted({" ".join(text.lower().split()) for text in thing.descriptions} - {""})
        read.append((thing, {text: reader.read(text) for text in texts}))
    candidates = []
    for thing, mentions in read:
        for kind in rule.kinds:
            found.senses[kind].update(entry.sense for own in mentions.values() for entry in own if entry.kind == kind)
            values = _agreed_values(thing, kind, mentions, lexicons[kind], rule, found.dropped[kind])
            found.agreed[kind].update(values)
            if values:
                candidates.append((thing, mentions, kind, values))
    for thing, mentions, kind, values in candidates:
        silent = [text for text, own in mentions.items() if all(entry.kind != kind for entry in own)]
        if not silent:
            found.dropped[kind]["always mentioned"] += 1
            continue
        rng = _rng(rule.seed, thing.key, kind)
        mentioned = {entry.value for own in mentions.values() for entry in own if entry.kind == kind}
        for position in sorted(rng.permutation(len(silent))[: rule.per_object].tolist()):
            value = values[int(rng.integers(len(values)))]
            false_value = _false_value(value, mentioned, lexicons[kind], found.agreed[kind], rng)
            if false_value is None:
                found.dropped[kind]["no false value"] += 1
            found.items.append(MissingAttribute(thing, silent[position], kind, value, false_value))
    return found


def _agreed_values(
    thing: DescribedObject,
    kind: AttributeKind,
    mentions: Mapping[str, Sequence[Mention]],
    lexicon: AttributeLexicon,
    rule: SelectionRule,
    dropped: Counter[str],
) -> list[str]:
    """The values of a kind that the descriptions of an object agree on: one, or of locations one an axis."""
    said: dict[str, list[set[str]]] = defaultdict(list)  # by axis, the values of each description that says one
    entries = [entry for own in mentions.values() for entry in own if entry.kind == kind]
    denied = {entry.value for entry in entries if entry.sense == "negated"}
    for own in mentions.values():
        values: dict[str, set[str]] = defaultdict(set)
        for entry in own:
            if entry.kind == kind and entry.sense == "said":
                values[lexicon.axis_of(entry.value)].add(entry.value)
        for axis, on_axis in values.items():
            said[axis].append(on_axis)
    if not said and any(entry.sense == "ambiguous" for entry in entries):
        dropped["ambiguous words"] += 1
    agreed = []
    for axis in sorted(said):
        values = set().union(*said[axis])
        reason = _why_dropped(thing, kind, axis, said[axis], values, values & denied, rule)
        if reason is None and kind == "category" and thing.category in lexicon.values and values != {thing.category}:
            reason = "other category"
        if reason is None:
            agreed += values
        else:
            dropped[reason] += 1
    return agreed


def _why_dropped(
    thing: DescribedObject,
    kind: AttributeKind,
    axis: str,
    said: Sequence[set[str]],
    values: set[str],
    denied: set[str],
    rule: SelectionRule,
) -> str | None:
    if any(len(own) > 1 for own in said):
        return "several values"
    if len(values) > 1 or denied:
        return "contradiction"
    if len(said) < rule.min_agree:
        return "too few descriptions"
    (value,) = values
    if kind == "location" and rule.check_image and not _is_there(thing, axis, value):
        return "elsewhere in the image"
    return None


def _is_there(thing: DescribedObject, axis: str, value: str) -> bool:
    """Whether the centre of a mask is on the side that a value says; true for what is no side of the image."""
    if axis not in ("horizontal", "vertical"):
        return True
    mask = decode_union(thing.segmentations, thing.height, thing.width)
    along = mask.any(axis=0 if axis == "horizontal" else 1)
    if not along.any():
        return False
    indices = np.flatnonzero(along)
    centre = (indices[0] + indices[-1] + 1) / 2 / len(along)
    if value in ("left", "top"):
        return centre < 0.5
    return centre > 0.5 if value in ("right", "bottom") else abs(centre - 0.5) < 0.25


def _false_value(
    value: str, mentioned: set[str], lexicon: AttributeLexicon, counts: Mapping[str, int], rng: np.random.Generator
) -> str | None:
    """A value that is not true of an object and that no description of it has a word for.

    On an axis it is the opposite; else it is drawn as often as objects have it, but for values too close to the true one.
    """
    opposites = lexicon.opposites(value)
    options = opposites or lexicon.values
    allowed = [
        other
        for other in options
        if other != value
        and other not in mentioned
        and (other, value) not in lexicon.near
        and lexicon.exclude(other, value)
        and (opposites or counts.get(other, 0))
    ]
    if not allowed:
        return None
    weights = np.array([max(counts.get(other, 0), 1) for other in allowed], float)
    return allowed[int(rng.choice(len(allowed), p=weights / weights.sum()))]


def limit_items(items: Sequence[MissingAttribute], count: int | None, seed: int) -> list[MissingAttribute]:
    """Draw ``count`` items, of the kinds as evenly as they allow, in their order; all where ``count`` is None or too large."""
    if count is None or len(items) <= count:
        return list(items)
    ranked: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        ranked[item.kind].append(index)
    order = []
    for kind, indices in ranked.items():
        indices.sort(key=lambda index: _digest(seed, "limit", items[index].object.key, kind, items[index].expression))
        order += [(position, ATTRIBUTE_KINDS.index(kind), index) for position, index in enumerate(indices)]
    return [items[index] for index in sorted(index for *_, index in sorted(order)[:count])]


def _digest(*parts: Any) -> bytes:
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).digest()


def _rng(*parts: Any) -> np.random.Generator:
    """A generator that depends on the parts alone, not on what was drawn before."""
    return np.random.default_rng(int.from_bytes(_digest(*parts)[:8], "big"))
