"""The entries of annotation files: a schema for each format, and the one way from a parsed value to a typed entry.

Official files hold more keys than are read here (``coco_url``, ``tokens``, ``seg_img_path``, ...): they pass, unless they carry
an input (``images``, ``video``, ...) that would be lost. Types are strict: ``"1"`` and ``true`` are no numbers.
"""

import math
import re
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.json_records import RepeatedKey, UnreadableRecord, repeated_key
from lira_plugin.structures import FaultKind, shown

T = TypeVar("T")

MAX_SIDE = 1_000_000
"""Pixels of the longest side that an image may state."""

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str
FileName = Annotated[str, msgspec.Meta(pattern=r"\S")]
NotBlank = Annotated[str, msgspec.Meta(pattern=r"\S")]
Side = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
Flag = bool | Literal[0, 1] | None
Scalar = bool | int | float | str | None


class Entry(msgspec.Struct, gc=False):
    """Base of all entries: text is Unicode, numbers are finite, and no other key carries an input.

    Fields that hold a COCO segmentation are annotated ``Any`` and named in ``segmentation_fields``; their form is checked here,
    their numbers where a mask is made of them (``structures/masks.py``).
    """

    def __post_init__(self) -> None:
        for field, key in zip(self.__struct_fields__, self.__struct_encode_fields__):
            value = getattr(self, field)
            kind = type(value)
            if kind is str:
                check_text(key, value)
            elif kind is float and not math.isfinite(value):
                raise ValueError(f"{key!r} must be a finite number: got {value!r}")


class CocoImage(Entry, kw_only=True):
    """An image of a COCO file; LVIS has no ``file_name``, which then is the end of ``coco_url``: ``val2017/000000000139.jpg``."""

    id: Id
    file_name: FileName | msgspec.UnsetType = msgspec.UNSET
    coco_url: Any = None
    height: Side
    width: Side

    def __post_init__(self) -> None:
        if self.file_name is msgspec.UNSET:
            self.file_name = _end_of_url(self.coco_url)
        self.coco_url = None
        super().__post_init__()


def _end_of_url(url: Any) -> str:
    """Folder and name of an image of COCO's from its address.

    Raises:
        ValueError: it is no such address.
    """
    parts = url.split("/") if isinstance(url, str) else []
    if len(parts) < 5 or not parts[-1].strip() or ".." in parts[-2:]:
        raise ValueError("it lacks 'file_name', and 'coco_url' does not say it either")
    return "/".join(parts[-2:])


class CocoAnnotation(Entry):
    """An annotation of a COCO file; ``segmentation`` is a raw COCO form, or unset."""

    id: Id
    image_id: Id
    category_id: Id | None = None
    iscrowd: Flag = 0
    segmentation: Any = msgspec.UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_segmentation("segmentation", self.segmentation)


class CocoCategory(Entry):
    """A category of a COCO file."""

    id: Id
    name: NotBlank


class FlickrImage(CocoImage, kw_only=True):
    """An image of the Flickr layout: COCO's with its caption."""

    caption: str


class FlickrAnnotation(Entry):
    """An annotation of the Flickr layout. ``bbox`` is x, y, width, height; of ``tokens_positive``, spans, the first counts."""

    id: Id
    image_id: Id
    bbox: Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]
    area: float = 1.0
    ignore: Flag = 0
    tokens_positive: list[list[int]] | None = None
    sam_mask: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(map(math.isfinite, self.bbox)):
            raise ValueError(f"'bbox' must hold finite numbers: got {self.bbox!r}")
        check_segmentation("sam_mask", self.sam_mask)


class RefSentence(Entry):
    """A sentence of a ref."""

    sent: str
    sent_id: Id | None = None


class Ref(Entry):
    """A ref of the REFER layout: an object, or for gRefCOCO a list of them, and the sentences about it."""

    ref_id: Id
    ann_id: Id | list[Id]
    image_id: Id
    split: NotBlank
    sentences: list[RefSentence]


class GrandfEntry(Entry):
    """A caption of the GranDf layout; ``groundings`` are :class:`Grounding` by phrase."""

    file_name: FileName
    height: Side
    width: Side
    caption: str
    groundings: dict[str, Any]
    image_id: Id | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for phrase in self.groundings:
            check_text("groundings", phrase)


class Grounding(Entry):
    """The span of a phrase, and the masks whose union is its region."""

    token_positives: list[int]
    rle_masks: list[Any] | None

    def __post_init__(self) -> None:
        for index, mask in enumerate(self.rle_masks or ()):
            check_segmentation(f"rle_masks[{index}]", mask)


class RefcocogPhrase(Entry):
    """A phrase of the RefCOCOg layout with its mask."""

    sentence: str
    segmentation: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        check_segmentation("segmentation", self.segmentation)


class RefcocogEntry(Entry):
    """A caption of the RefCOCOg layout."""

    img_file_name: FileName
    caption: str
    refs: list[RefcocogPhrase]


class LlavaMessage(Entry):
    """A message of a LLaVA conversation."""

    speaker: str = msgspec.field(name="from")
    value: str


class LlavaEntry(Entry):
    """A conversation of LLaVA's layout; without ``image`` it is text only."""

    conversations: list[LlavaMessage]
    id: Id | None = None
    image: FileName | None = None


_INPUT = re.compile(
    r"(images?|imgs?|pictures?|photos?|pixel_values|videos?|clips?|frames?|audios?|speech|sounds?|documents?|point_?clouds?)"
    r"(_?(paths?|files?|file_?names?|names?|urls?|list|folders?|dirs?|bytes|data|base64|\d+))?",
    re.IGNORECASE,
)


@cache
def _known_keys(kind: type[Entry]) -> frozenset[str]:
    return frozenset(kind.__struct_encode_fields__)


@cache
def carries_input(key: str) -> bool:
    """Whether a key's name says that its value is an image, a video or another input."""
    return bool(_INPUT.fullmatch(key))


def to_entry(value: Any, kind: type[T], where: str = "") -> T:
    """Check a parsed value against a schema.

    Args:
        value: as parsed from JSON or a pickle.
        kind: the schema, a subclass of :class:`Entry`.
        where: what comes before the keys in messages, such as ``groundings['a dog']``.

    Raises:
        BadRecord: it is not of the schema; the message names the key and shows the value, not file and record.
    """
    if isinstance(value, UnreadableRecord):
        raise BadRecord("the record cannot be read", value.reason)
    try:
        entry = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _explained(value, str(error), where) from None
    except UnicodeEncodeError:  # msgspec's, for such a text where a number or list is wanted
        raise BadRecord("it holds half of a surrogate pair, which is no text", f"got {_half_pair(value)}") from None
    for key in value.keys() - _known_keys(kind):
        if carries_input(key) and value[key] not in (None, "", []):
            raise BadRecord(
                f"the key {key!r} carries an input that this format does not have, and which would be lost",
                f"got {shown(value[key])}; known keys are {list(kind.__struct_encode_fields__)}",
                FaultKind.OTHER_INPUT,
            )
    return entry


def _half_pair(value: Any, key: str = "") -> str:
    """The first text with half of a surrogate pair, with its key; of values in values, five levels deep."""
    if isinstance(value, str) and not value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in value):
        return f"{shown(value)} under {key[1:]!r}" if key else shown(value)
    if key.count(".") > 5 or not isinstance(value, dict | list | tuple):
        return ""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return next((found for name, part in parts if (found := _half_pair(part, f"{key}.{name}"))), "")


def check_text(key: str, text: str) -> None:
    """Refuse text that is not Unicode, which no tokenizer takes.

    Raises:
        ValueError: it holds half of a surrogate pair; the message names the key.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{key!r} holds half of a surrogate pair at character {error.start}, which is no text: got {shown(text)}"
            ) from None


def check_segmentation(key: str, value: Any) -> None:
    """Check the form of a COCO segmentation: polygons, an RLE, a list of RLEs, or none. Numbers are not looked at.

    Raises:
        ValueError: it is nothing of these, or repeats a key; the message names the key.
    """
    try:
        sound = (
            value is None
            or value is msgspec.UNSET
            or (isinstance(value, dict) and _is_rle(value))
            or all(_is_rle(part) for part in msgspec.convert({"parts": value}, _Parts).parts if isinstance(part, dict))
        )
    except msgspec.ValidationError:
        sound = False
    if not sound and (repeated := repeated_key(value)) is not None:
        raise ValueError(f"{key!r} repeats a key: got {repeated!r}")
    if not sound:
        raise ValueError(
            f"{key!r} must be polygons [[x, y, ...], ...], an RLE {{'size', 'counts'}} or a list of those: got {shown(value)}"
        )


class _Parts(msgspec.Struct, gc=False):
    """Polygons, one polygon as a flat list, or RLEs: lists inside of a polygon are refused."""

    parts: list[list[Scalar] | dict[str, Any] | Scalar]


class _Rle(msgspec.Struct, gc=False):
    """The form of an RLE; ``counts`` may also be bytes."""

    size: list[Scalar]
    counts: str | list[Scalar]


def _is_rle(rle: dict[str, Any]) -> bool:
    """Whether it has the keys of an RLE; lists inside of their lists are refused."""
    if isinstance(rle.get("counts"), bytes):
        rle = {**rle, "counts": ""}
    msgspec.convert(rle, _Rle)
    return True


_TEXT_KEYS = ("'question'", "'text", "'name'")
"""How messages about keys begin that hold what a person would say."""

_WORDS = {
    "int": "a whole number",
    "str": "a text",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
"""What msgspec's names of types mean."""


def _plain(message: str) -> str:
    """A message of msgspec in words, without the path and the type that was found."""
    message = re.sub(r"(, got `[^`]*`)?( - at .*)?$", "", message, flags=re.DOTALL)
    expected = re.fullmatch(r"Expected `([^`]*)`(.*)", message, re.DOTALL)
    if not expected:
        return message
    words = " or ".join(_WORDS.get(name, name) for name in expected.group(1).split(" | "))
    bound = expected.group(2).replace(" >= ", " of at least ").replace(" <= ", " of at most ")
    bound = bound.replace(" of length of at least ", " with at least ").replace(
        r" matching regex '\\S'", " that is not blank"
    )
    return f"must be {words}{bound}"


def _explained(value: Any, message: str, where: str) -> BadRecord:
    """The error of a value that is not of its schema: msgspec's, with the key and the value."""
    error, value = _in_words(value, message, where)
    if isinstance(value, RepeatedKey) or "repeats a key" in error.reason:
        error.kind = FaultKind.DUPLICATE_KEY
    elif "finite number" in message or (isinstance(value, float) and not math.isfinite(value)):
        error.kind = FaultKind.NON_FINITE
    elif "that is not blank" in error.reason and error.reason.startswith(_TEXT_KEYS) and not str(value).strip():
        error.kind = FaultKind.EMPTY_TEXT
    return error


def _in_words(value: Any, message: str, where: str) -> tuple[BadRecord, Any]:
    """The error, and the value that it is about."""
    found = re.search(r" - at (`key` in )?`\$(.*?)`$", message)
    keys = re.findall(r"\.([^.\[]+)|\[(\d+)\]", found.group(2)) if found else []
    for name, index in keys:
        value = value[name] if name else value[int(index)]
    key = (where + "".join(f".{name}" if name else f"[{index}]" for name, index in keys)).removeprefix(".")
    missing = re.match(r"Object missing required field `(.*?)`", message)
    if missing:
        lacking = f"{key!r} lacks {missing.group(1)!r}" if key else f"it lacks {missing.group(1)!r}"
        return BadRecord(lacking, f"got {shown(value)}"), value
    plain = _plain(message)
    if plain.startswith("Object contains unknown field"):
        unknown = re.search(r"`(.*?)`", plain).group(1)
        return BadRecord(f"the key {unknown!r} is none of this format", f"got {shown(value)}"), value
    if found and found.group(1):
        return BadRecord(f"a key of {key or 'the record'!r} must be a text", f"got {shown(value)}"), value
    if plain.startswith("Invalid enum value"):
        plain = "must be 0, 1, true or false"
    if not plain.startswith("must be"):  # of a check of our own, which names its key and shows the value
        reason, _, detail = plain.partition(": got ")
        return BadRecord(f"{key}: {reason}" if key else reason, f"got {detail}" if detail else ""), value
    return BadRecord(f"{key!r} {plain}" if key else f"it {plain}", f"got {shown(value)}"), value
