"""Broken records of every format, as a table.

A fault is a value of a wrong kind under a key of a sound file, or a spoilt file. :data:`KEYS` says which keys a format has and
what stands there, :data:`WRONG` what must not stand there; their product and the single cases make the table.
"""

import json
import pickle
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from lira_plugin.structures import encode_mask

HEIGHT, WIDTH = 40, 60
POLYGON = [[1, 2, 30, 2, 30, 20]]
DEEP = "@deep@"
"""Stands for a list in lists, which no writer would write."""
LEVELS, KEY_LEVELS = 200_000, 5_000
"""Lists in lists in a whole file and a pickle, and under each key of a JSON file, where they take a while to be read."""
NAN, INF, HUGE, SURROGATE = float("nan"), float("inf"), 10**30, "a\ud800b"
MISSING = object()


def rle() -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:12, 5:20] = True
    return encode_mask(mask)


def images(**extra: Any) -> list[dict[str, Any]]:
    return [
        {"id": n, "file_name": "a.png", "height": HEIGHT, "width": WIDTH, "coco_url": "http://x"} | extra
        for n in (1, 2)
    ]


def sound() -> dict[str, dict[str, Any]]:
    """For each reader its files by name. In each list the second record is the one that is spoilt."""
    grounding = {"token_positives": [0, 5], "rle_masks": [rle()], "seg_img_path": "x.png"}
    size = {"file_name": "a.png", "height": HEIGHT, "width": WIDTH}
    caption = "A dog near a car."
    annotations = [
        {
            "id": n,
            "image_id": n,
            "category_id": 3,
            "iscrowd": 0,
            "bbox": [1, 2, 9, 6],
            "area": 54.5,
            "segmentation": deepcopy(POLYGON),
        }
        for n in (1, 2)
    ]
    instances = {
        "info": {"year": 2014},
        "licenses": [],
        "images": images(),
        "annotations": annotations,
        "categories": [{"id": 3, "name": "dog", "supercategory": "animal"}, {"id": 5, "name": "car"}],
    }
    refs = [
        {
            "ref_id": n,
            "ann_id": n,
            "image_id": n,
            "category_id": 3,
            "split": "train",
            "file_name": "a_1.png",
            "sent_ids": [n],
            "sentences": [{"sent_id": n, "sent": "the dog", "raw": "The dog", "tokens": ["the", "dog"]}],
        }
        for n in (1, 2)
    ]
    flickr = [
        {"id": n, "image_id": n, "bbox": [1, 2, 9, 6], "area": 54, "tokens_positive": [[0, 5]], "sam_mask": rle()}
        for n in (1, 2)
    ]
    messages = [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": "Yes."}]
    return json.loads(  # no two records share anything
        json.dumps(
            {
                "grandf": {
                    "gcg.json": [
                        {**size, "image_id": f"g{n}", "caption": caption, "groundings": {"A dog": grounding}}
                        for n in (1, 2)
                    ]
                },
                "refcocog": {
                    "gcg.json": [
                        {
                            f"c{n}": {
                                "img_file_name": "a.png",
                                "caption": caption,
                                "refs": [{"sentence": "a dog", "bbox": [0, 0, 1, 1], "segmentation": POLYGON}],
                            }
                        }
                        for n in (1, 2)
                    ]
                },
                "flickr": {"flickr.json": {"images": images(caption=caption), "annotations": flickr}},
                "coco": {"instances.json": instances},
                "refcoco": {"refs(unc).p": refs, "instances.json": instances},
                "grefcoco": {
                    "grefs(unc).json": [{**ref, "ann_id": [ref["ann_id"]]} for ref in refs],
                    "instances.json": instances,
                },
                "llava": {
                    "llava.json": [
                        {"id": f"v{n}", "image": "a.png", "conversations": messages, "model": "x"} for n in (1, 2)
                    ]
                },
                "sa2va": {"sa2va.json": [{"image": "a.png", "mask": [POLYGON], "text": ["The dog"]} for _ in (1, 2)]},
                "questions": {"q.jsonl": [{"image": "a.png", "question": "Is it?", "task": "VQA"} for _ in (1, 2)]},
            }
        )
    )


def to_bytes(name: str, content: Any) -> bytes:
    """A file's bytes; :data:`DEEP` becomes what it stands for."""
    if name.endswith(".p"):
        return pickle.dumps(content, 2).replace(
            b"X\x06\x00\x00\x00" + DEEP.encode(), b"]" * LEVELS + b"a" * (LEVELS - 1)
        )
    text = "\n".join(map(json.dumps, content)) if name.endswith(".jsonl") else json.dumps(content)
    return text.replace(json.dumps(DEEP), "[" * KEY_LEVELS + "]" * KEY_LEVELS).encode()


# What stands under a key, and what must not: (kind of fault, value).
NOT_TEXT = [
    ("null", None),
    ("number", 3),
    ("list", ["a"]),
    ("object", {"a": 1}),
    ("true", True),
    ("half a surrogate pair", SURROGATE),
    ("deep", DEEP),
]
NOT_NUMBER = [
    ("half a surrogate pair", SURROGATE),
    ("text of digits", "40"),
    ("true", True),
    ("NaN", NAN),
    ("Infinity", INF),
    ("list", [40]),
    ("object", {}),
    ("deep", DEEP),
]
NOT_ID = [
    ("half a surrogate pair", SURROGATE),
    ("null", None),
    ("fraction", 1.5),
    ("true", True),
    ("NaN", NAN),
    ("list in a list", [[1]]),
    ("object", {"a": 1}),
    ("huge number", HUGE),
    ("deep", DEEP),
]
WRONG: dict[str, list[tuple[str, Any]]] = {
    "text": [*NOT_TEXT, ("missing", MISSING)],
    "name": [*NOT_TEXT, ("missing", MISSING), ("empty text", ""), ("blank text", " \t")],
    "size": [
        *NOT_NUMBER,
        ("null", None),
        ("zero", 0),
        ("negative number", -3),
        ("fraction", 1.5),
        ("huge number", HUGE),
        ("missing", MISSING),
    ],
    "id": [*NOT_ID, ("missing", MISSING)],
    "flag": [("text of digits", "0"), ("flag of another number", 2), ("list", [0]), ("NaN", NAN)],
    "number": [*NOT_NUMBER, ("null", None)],
    "box": [
        ("null", None),
        ("short list", [1, 2, 9]),
        ("list with null", [1, 2, 9, None]),
        ("list with text", [1, 2, 9, "6"]),
        ("NaN in a list", [1, NAN, 9, 6]),
        ("object", {}),
    ],
    "span": [
        ("null", None),
        ("short list", [1]),
        ("list with text", ["0", 5]),
        ("fraction in a list", [0.0, 5]),
        ("list with true", [False, True]),
        ("object", {}),
        ("deep", DEEP),
        ("missing", MISSING),
    ],
    "entries": [
        ("null", None),
        ("object", {"a": 1}),
        ("text", "x"),
        ("half a surrogate pair", SURROGATE),
        ("number", 3),
        ("list with null", [None]),
        ("list with numbers", [3]),
        ("deep", DEEP),
        ("missing", MISSING),
    ],
    "objects": [
        ("null", None),
        ("list", [1]),
        ("text", "x"),
        ("object of numbers", {"A dog": 3}),
        ("deep", DEEP),
        ("missing", MISSING),
    ],
    "masks": [
        ("object", {}),
        ("text", "x"),
        ("list with text", ["x"]),
        ("list with lists in lists", [[[[1]]]]),
        ("deep", DEEP),
        ("missing", MISSING),
    ],
    "mask": [
        ("number", 3),
        ("text", "x"),
        ("false", False),
        ("true", True),
        ("deep", DEEP),
        ("list in lists", [[[1, 2, 3]]]),
        ("RLE without counts", {"size": [40, 60]}),
        ("RLE with deep counts", {"size": [40, 60], "counts": DEEP}),
        ("RLE with null", {"size": None, "counts": "a"}),
    ],
    "polygon": [
        ("coordinate as text", [["1", 2, 30, 2, 30, 20]]),
        ("null coordinate", [[None, 2, 30, 2, 30, 20]]),
        ("NaN coordinate", [[NAN, 2, 30, 2, 30, 20]]),
        ("huge coordinate", [[1e300, 2, 30, 2, 30, 20]]),
        ("short polygon", [[1, 2, 3]]),
        ("RLE of another size", {"size": [60, 40], "counts": [100, 20, 2280]}),
        ("negative run", {"size": [40, 60], "counts": [-1, 2401]}),
        ("runs as text", {"size": [40, 60], "counts": ["100", "20", "2280"]}),
        ("fractional run", {"size": [40, 60], "counts": [100.5, 20, 2279.5]}),
        ("size as text", {"size": ["40", "60"], "counts": [100, 20, 2280]}),
        ("no RLE character", {"size": [40, 60], "counts": "\u00e9"}),
    ],
}

# Reader, file, keys to the record (the second of its list), what the record is called, and what stands under its keys.
INSTANCES = [
    (
        "images",
        "image 2",
        "position 1 of 'images'",
        {"file_name": "name", "height": "size", "width": "size", "id": "id"},
    ),
    (
        "annotations",
        "annotation 2",
        "position 1 of 'annotations'",
        {"id": "id", "image_id": "id", "iscrowd": "flag", "segmentation": "mask"},
    ),
    ("categories", "category 5", "position 1 of 'categories'", {"id": "id", "name": "name"}),
]
REF = {"ref_id": "id", "ann_id": "id", "image_id": "id", "split": "name", "sentences": "entries"}
KEYS: list[tuple[str, str, tuple[Any, ...], str, dict[str, str]]] = [
    (
        "grandf",
        "gcg.json",
        (1,),
        "record g2 (position 1)",
        {"file_name": "name", "height": "size", "width": "size", "caption": "text", "groundings": "objects"},
    ),
    (
        "grandf",
        "gcg.json",
        (1, "groundings", "A dog"),
        "record g2 (position 1)",
        {"token_positives": "span", "rle_masks": "masks"},
    ),
    (
        "refcocog",
        "gcg.json",
        (1, "c2"),
        "record c2 (position 1)",
        {"img_file_name": "name", "caption": "text", "refs": "entries"},
    ),
    (
        "refcocog",
        "gcg.json",
        (1, "c2", "refs", 0),
        "record c2 (position 1)",
        {"sentence": "text", "segmentation": "mask"},
    ),
    (
        "flickr",
        "flickr.json",
        ("images", 1),
        "image 2 (position 1 of 'images')",
        {"file_name": "name", "height": "size", "width": "size", "caption": "text"},
    ),
    (
        "flickr",
        "flickr.json",
        ("annotations", 1),
        "annotation 2 (position 1 of 'annotations')",
        {"image_id": "id", "bbox": "box", "area": "number", "ignore": "flag", "sam_mask": "mask"},
    ),
    *(
        (reader, "instances.json", (section, 1), f"{name} ({position})", keys)
        for reader in ("coco", "refcoco", "grefcoco")
        for section, name, position, keys in INSTANCES
    ),
    ("coco", "instances.json", ("annotations", 1), "annotation 2 ", {"category_id": "id"}),
    ("refcoco", "refs(unc).p", (1,), "ref 2 (position 1)", REF),
    ("refcoco", "refs(unc).p", (1, "sentences", 0), "ref 2 (position 1)", {"sent": "text"}),
    ("grefcoco", "grefs(unc).json", (1,), "ref 2 (position 1)", REF),
    ("grefcoco", "grefs(unc).json", (1, "sentences", 0), "ref 2 (position 1)", {"sent": "text"}),
    ("llava", "llava.json", (1,), "record v2 (position 1)", {"conversations": "entries"}),
    ("llava", "llava.json", (1, "conversations", 0), "record v2 (position 1)", {"from": "text", "value": "text"}),
    ("sa2va", "sa2va.json", (1,), "record 1", {"image": "name", "mask": "masks", "text": "entries"}),
    ("questions", "q.jsonl", (1,), "line 2", {"image": "name", "question": "name"}),
]
MASKS = [
    ("grandf", "gcg.json", (1, "groundings", "A dog", "rle_masks"), lambda value: [value], "record g2"),
    ("refcocog", "gcg.json", (1, "c2", "refs", 0, "segmentation"), lambda value: value, "record c2"),
    ("flickr", "flickr.json", ("annotations", 1, "sam_mask"), lambda value: value, "record 2"),
    ("coco", "instances.json", ("annotations", 1, "segmentation"), lambda value: value, "record 2"),
    ("refcoco", "instances.json", ("annotations", 1, "segmentation"), lambda value: value, "record 2"),
    ("sa2va", "sa2va.json", (1, "mask", 0), lambda value: value, "record 1-0"),
]
"""Where masks are, whose numbers are looked at when they are made."""


@dataclass(frozen=True)
class Fault:
    """One broken record or file.

    Args:
        kind: of fault.
        reader, file: where.
        record: what the message calls the record; empty for a fault of the whole file.
        says: what the message holds besides, a pattern.
        spoil: changes the content of the file in place, or returns other content.
        spoil_bytes: changes the bytes of the file.
    """

    kind: str
    reader: str
    file: str
    record: str
    says: str
    spoil: Callable[[Any], Any] = lambda content: None
    spoil_bytes: Callable[[bytes], bytes] = lambda content: content

    @property
    def name(self) -> str:
        return re.sub(r"[^\w.-]+", "_", f"{self.reader}-{self.file}-{self.kind}-{self.says}")[:90]


def put(path: tuple[Any, ...], value: Any) -> Callable[[Any], None]:
    """Put a value at the end of a path of keys."""

    def spoil(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        if value is MISSING:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return spoil


def of_keys() -> Iterator[Fault]:
    optional_null = {("flickr", "sam_mask"), ("grandf", "rle_masks")}
    for reader, file, path, record, keys in KEYS:
        for key, kind in keys.items():
            for fault, value in WRONG[kind]:
                # an id is what names its record, so without one its position does
                named = "position 1" if key in ("id", "ref_id") else record
                if "deep" in fault and not file.endswith(".p"):
                    says, named = "nested too deep", record if reader == "questions" else "position 1"
                elif key == "category_id":
                    says = "categor"
                elif (reader, key) in optional_null and value is None:
                    continue
                else:
                    says = re.escape(key)
                yield Fault(f"{kind}: {fault}", reader, file, named, says, put((*path, key), value))
    for reader, file, path, wrap, record in MASKS:
        for fault, value in WRONG["polygon"]:
            if isinstance(value, dict) or reader not in ("grandf", "flickr"):
                yield Fault(f"mask: {fault}", reader, file, record, r"run|polygon|size|mask", put(path, wrap(value)))


def of_records() -> Iterator[Fault]:
    lists = [
        ("grandf", "gcg.json", "1"),
        ("refcocog", "gcg.json", "1"),
        ("refcoco", "refs(unc).p", "1"),
        ("grefcoco", "grefs(unc).json", "1"),
        ("llava", "llava.json", "1"),
        ("questions", "q.jsonl", "line 2"),
    ]
    for reader, file, record in lists:
        for kind, value in (("null", None), ("number", 3), ("text", "x"), ("list", [1]), ("empty object", {})):
            yield Fault(f"record: {kind}", reader, file, record, "object|lacks", put((1,), value))
        if reader != "refcocog":
            yield Fault(
                "record: key that is no text" if file.endswith(".p") else "record: further input",
                reader,
                file,
                "2",
                "key",
                put((1, 7 if file.endswith(".p") else "video"), "a.mp4"),
            )
    for reader, sections in (("flickr", ("images", "annotations")), ("coco", ("images", "annotations", "categories"))):
        (file,) = sound()[reader]
        for section in sections:
            for kind, value in (("null", None), ("object", {"1": 2}), ("text", "x")):
                yield Fault(f"section: {kind}", reader, file, "", f"'{section}' must be a list", put((section,), value))
            for kind, value in (("null", None), ("number", 3), ("list", [1])):
                yield Fault(
                    f"record: {kind}", reader, file, f"position 1 of '{section}'", "object", put((section, 1), value)
                )
            repeated = put((section, 1, "id"), 3 if section == "categories" else 1)
            yield Fault("id: twice", reader, file, f"position 1 of '{section}'", "occurs twice", repeated)
            text = put((section, 1, "id"), "2")
            yield Fault("id: text among numbers", reader, file, f"position 1 of '{section}'", "mixed", text)
        yield Fault(
            "file: without a section", reader, file, "", "not a COCO file", lambda content: content.pop("annotations")
        )
    yield from of_references()


def of_references() -> Iterator[Fault]:
    twin = "write the id as there"
    for reader in ("coco", "flickr"):
        (file,) = sound()[reader]
        image_id = ("annotations", 1, "image_id")
        yield Fault("image_id: text for a number", reader, file, "annotation 2", f"'2'.*{twin}", put(image_id, "2"))
        yield Fault("image_id: unknown", reader, file, "annotation 2", "names image 9", put(image_id, 9))
    category = ("annotations", 1, "category_id")
    yield Fault(
        "category_id: text for a number", "coco", "instances.json", "annotation 2", f"'3'.*{twin}", put(category, "3")
    )
    yield Fault("category_id: unknown", "coco", "instances.json", "annotation 2", "names category 9", put(category, 9))
    yield Fault(
        "segmentation: missing",
        "coco",
        "instances.json",
        "annotation 2",
        "no 'segmentation'",
        put((*category[:2], "segmentation"), MISSING),
    )
    for reader, file in (("refcoco", "refs(unc).p"), ("grefcoco", "grefs(unc).json")):
        for key, what in (("ann_id", "annotation"), ("image_id", "image")):
            yield Fault(f"{key}: text for a number", reader, file, "ref 2", f"'2'.*{twin}", put((1, key), "2"))
            yield Fault(f"{key}: unknown", reader, file, "ref 2", f"names {what} 9", put((1, key), 9))
        yield Fault("ann_id: of another image", reader, file, "ref 2", "another image", put((1, "ann_id"), 1))
        for kind, key, value in (
            ("segmentation: missing", "segmentation", MISSING),
            ("category_id: text", "category_id", "3"),
        ):
            yield Fault(kind, reader, "instances.json", "ref 2", key, put(("annotations", 1, key), value))
    for kind, value, says in (
        ("span: leaves the caption", [0, 400], "leaves the caption"),
        ("span: huge", [0, HUGE], "leaves the caption"),
        ("span: empty", [3, 3], "empty"),
        ("span: negative", [-5, 5], "leaves the caption"),
    ):
        yield Fault(
            kind, "grandf", "gcg.json", "record g2", says, put((1, "groundings", "A dog", "token_positives"), value)
        )
        yield Fault(
            kind, "flickr", "flickr.json", "record 2", says, put(("annotations", 1, "tokens_positive"), [value])
        )
    yield Fault(
        "span: none",
        "flickr",
        "flickr.json",
        "record 2",
        "tokens_positive",
        put(("annotations", 1, "tokens_positive"), []),
    )
    yield Fault(
        "phrase: without a mask", "grandf", "gcg.json", "record g2", "no mask", put((1, "groundings", "A dog"), None)
    )
    yield Fault("phrase: none", "grandf", "gcg.json", "record g2", "no region", put((1, "groundings"), {}))
    yield Fault(
        "phrase: elsewhere",
        "refcocog",
        "gcg.json",
        "record c2",
        "not in the caption",
        put((1, "c2", "refs", 0, "sentence"), "a cat"),
    )
    yield Fault("record: two keys", "refcocog", "gcg.json", "record 1", "one key", put((1, "c9"), {}))
    for key in ("images", "video", "videos", "audio", "image_path", "image2", "point_cloud"):
        yield Fault(
            f"input: {key}", "llava", "llava.json", "record v2", f"'{key}' carries an input", put((1, key), ["a"])
        )
    for text in ("<video>", "<audio>", "<image1>", "<image><image>", "<Image>"):
        value = put((1, "conversations", 0, "value"), f"{text}\nQ")
        yield Fault(f"input: {text}", "llava", "llava.json", "record v2", "message 0", value)
    yield Fault("conversation: odd", "llava", "llava.json", "record v2", "pairs", lambda c: c[1]["conversations"].pop())
    yield Fault("conversation: empty", "llava", "llava.json", "record v2", "pairs", put((1, "conversations"), []))
    yield Fault(
        "conversation: order",
        "llava",
        "llava.json",
        "record v2",
        "from 'human'",
        lambda c: c[1]["conversations"].reverse(),
    )
    yield Fault("question: unknown key", "questions", "q.jsonl", "line 2", "'tsak'", put((1, "tsak"), "x"))


def twice(key: bytes) -> Callable[[bytes], bytes]:
    """Write a key of the last record a second time."""

    def spoil(content: bytes) -> bytes:
        at = content.rindex(b'"' + key + b'":')
        return content[:at] + b'"' + key + b'": null, ' + content[at:]

    return spoil


def of_files() -> Iterator[Fault]:
    for reader, files in sound().items():
        for file in files:
            json_file = not file.endswith(".p")
            spoilt = {
                "empty": lambda content: b"",
                "cut off": lambda content: content[: len(content) * 3 // 4],
                "cut off at its end": lambda content: content[:-1],
                "no such format": lambda content: b"\x89PNG\r\n\x1a\n" + content,
            }
            if json_file:
                spoilt |= {
                    "blank": lambda content: b" \n",
                    "UTF-16": lambda content: content.decode().encode("utf-16"),
                    "Latin-1": lambda content: content.replace(b'.png"', b'\xe9.png"'),
                    "whole file deep": lambda content: b"[" * LEVELS + b"]" * LEVELS,
                    "quotes of Python": lambda content: content.replace(b'"', b"'"),
                    "deep record": lambda content: content[:-1] + b", " + b"[" * LEVELS + b"]" * LEVELS + content[-1:],
                    "null": lambda content: b"null",
                    "number": lambda content: b"3",
                    "number of 5000 digits": lambda content: content[:-1]
                    + b', {"id": '
                    + b"9" * 5000
                    + b"}"
                    + content[-1:],
                }
            for kind, spoil in spoilt.items():
                if not (reader == "questions" and kind.startswith("cut off at")):
                    yield Fault(f"file: {kind}", reader, file, "", "", spoil_bytes=spoil)
    for reader, file, key, record in (
        ("grandf", "gcg.json", b"caption", "record g2"),
        ("refcocog", "gcg.json", b"refs", "record c2"),
        ("flickr", "flickr.json", b"bbox", "annotation 2"),
        ("coco", "instances.json", b"name", "category 5"),
        ("grefcoco", "grefs(unc).json", b"split", "ref 2"),
        ("llava", "llava.json", b"conversations", "record v2"),
        ("sa2va", "sa2va.json", b"text", "record 1"),
        ("questions", "q.jsonl", b"question", "line 2"),
    ):
        yield Fault("key: twice", reader, file, record, f"{key.decode()}.*occurs 2 times", spoil_bytes=twice(key))
    repeated = twice(b"A dog")
    yield Fault("key: phrase twice", "grandf", "gcg.json", "record g2", "'A dog'.*2 values", spoil_bytes=repeated)
    yield Fault(
        "key: section twice",
        "coco",
        "instances.json",
        "",
        "'annotations' occurs 2 times",
        spoil_bytes=twice(b"annotations"),
    )


FAULTS = [*of_keys(), *of_records(), *of_files()]
