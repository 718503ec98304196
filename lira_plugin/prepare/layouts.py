"""Telling the layout of annotation files by what they hold."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.csv_masks import CSV_COLUMNS, csv_columns, read_table
from lira_plugin.datasets.json_records import parse_record
from lira_plugin.datasets.label_maps import find_names
from lira_plugin.datasets.parquet_columns import find_columns, find_tables, read_schema, split_of_name
from lira_plugin.datasets.refer import DEFAULT_SPLIT_BY

KINDS = {
    "refcoco": "folder with refs(NAME).p or .json and instances.json (RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, own)",
    "coco": "COCO file: images, annotations, categories",
    "lvis": "COCO file in the manner of LVIS: images with neg_category_ids, or coco_url for file_name",
    "gcg": "captions with masks: GranDf, RefCOCOg-GCG or Flickr layout",
    "lines": "JSON Lines of image, question, answer and spans with masks",
    "llava": "LLaVA file: conversations of human and gpt",
    "reasonseg": "folder with a JSON file of shapes and text beside each picture",
    "sa2va": "fine-tune file of Sa2VA: image, mask, text",
    "parquet": "parquet tables of phrases with masks",
    "csv": "CSV file of image, mask, phrase",
    "label_maps": "folder with images, masks (PNG label maps) and a file of class names",
}
"""Layouts by the names that ``look`` gives them."""
_IMAGE_FOLDERS = ("images", "image", "JPEGImages", "imgs", "img", "train2017", "val2017", "train2014", "train", "val")
_MASK_FOLDERS = ("masks", "mask", "labels", "SegmentationClass", "annotations")
_LVIS_KEYS = {"neg_category_ids", "not_exhaustive_category_ids"}
_LONGEST_LINE = 1_000_000
"""Characters from which on a line is a file of its own."""
_FAR_ENOUGH = 200
"""Entries of a folder, or records of a file, that are looked at to tell what it is."""


@dataclass(frozen=True)
class Layout:
    """A layout that was told.

    Args:
        kind: of :data:`KINDS`.
        reader: name of the class that reads it.
        arguments: of that class.
        split: that is read, if there are some.
        splits: all that there are.
        problems: that the reader would not say.
        others: further files of a folder that are of known layouts.
    """

    kind: str
    reader: str
    arguments: dict[str, Any]
    split: str | None = None
    splits: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class UnknownLayout(ValueError):
    """Something that no reader reads."""


def detect(path: Path) -> Layout:
    """Tell the layout of a file or folder.

    Raises:
        UnknownLayout: it is none of the known ones; the message is one line.
        ValueError: it is of a layout, but cannot be read.
        FileNotFoundError: there is nothing.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise _unknown(path, "a pipe, a socket or a device")  # to open a pipe would wait for its other end
    return _of_file(path)


def _unknown(path: Path, seen: str) -> UnknownLayout:
    return UnknownLayout(f"{path} is of no known layout: {seen}; known are {', '.join(KINDS)} (--help describes them)")


def _of_folder(folder: Path) -> Layout:
    names = sorted(entry.name for entry in folder.iterdir())
    for tell in (_refcoco, _reasonseg, _label_maps):
        if (found := tell(folder, names)) is not None:
            return found
    if any(folder.rglob("*.parquet")):
        return _parquet(folder)
    readable = [
        name
        for name in names
        if name.lower().endswith((".json", ".jsonl", ".csv", ".tsv")) and (folder / name).is_file()
    ]
    found, unreadable = [], []
    for name in readable[:_FAR_ENOUGH]:
        try:
            found.append(_of_file(folder / name))
        except ValueError as error:
            unreadable.append(error)
    if found:
        return replace(found[0], others=tuple(map(_file_of, found[1:])))
    if len(unreadable) == 1 and not isinstance(unreadable[0], UnknownLayout):
        raise unreadable[0]
    raise _unknown(
        folder, f"a folder of {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "an empty folder"
    )


def _file_of(layout: Layout) -> str:
    return str(layout.arguments.get("ann_file", layout.arguments.get("data_root", "")))


def _of_file(path: Path) -> Layout:
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return _parquet(path)
    if path.name.startswith(("refs(", "grefs(")):
        found = _refcoco(path.parent, [path.name])
        if found is not None:
            return found
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"[", b"{") and path.suffix != ".p":
        return _csv(path)
    if (found := _lines(path)) is not None:
        return found
    content = read_annotations(path)
    for tell in (_coco, _list_of_records, _one_reason):
        if (found := tell(path, content)) is not None:
            return found
    raise _unknown(path, _described(content))


def _described(content: Any) -> str:
    if isinstance(content, dict):
        return f"an object with the keys {sorted(map(str, content))[:8]}"
    if isinstance(content, list):
        first = content[0] if content else None
        what = (
            f"objects with the keys {sorted(map(str, first))[:8]}" if isinstance(first, dict) else type(first).__name__
        )
        return f"a list of {what}" if content else "an empty list"
    return f"a {type(content).__name__}"


def _refcoco(folder: Path, names: list[str]) -> Layout | None:
    refs = [name for name in names if name.startswith(("refs(", "grefs(")) and name.endswith((").p", ").json"))]
    if not refs:
        return None
    dataset = folder.resolve().name
    known = DEFAULT_SPLIT_BY.get(dataset)
    name = next((name for name in refs if f"({known})" in name), refs[0])
    content = read_annotations(folder / name)
    refs_of = content if isinstance(content, list) else []
    splits = tuple(sorted({str(ref["split"]) for ref in refs_of if isinstance(ref, dict) and "split" in ref}))
    split = next((split for split in ("val", "train", *splits) if split in splits), "train")
    arguments = {"data_root": str(folder.resolve().parent), "dataset": dataset, "split": split}
    image_root, problems = image_folder(folder, _coco_names(folder / "instances.json"))
    arguments |= {"image_root": image_root, "split_by": name[name.index("(") + 1 : name.rindex(")")]}
    if len(refs) > 1:
        problems += (f"there are several files of refs ({', '.join(sorted(refs))}); {name} is read",)
    return Layout("refcoco", "ReferSegDataset", arguments, split, splits, problems)


def _coco_names(path: Path) -> list[str]:
    try:
        content = read_annotations(path)
        return [image["file_name"] for image in content["images"][:_FAR_ENOUGH]]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # the reader says what is wrong with the file


def _reasonseg(folder: Path, names: list[str]) -> Layout | None:
    """Beside pictures, or one folder deeper in the folders of splits."""
    splits = tuple(name for name in names if (folder / name).is_dir() and _has_reason(folder / name))
    if splits and not _has_reason(folder):
        split = "val" if "val" in splits else splits[0]
        return Layout("reasonseg", "ReasonSegDataset", {"data_root": str(folder), "split": split}, split, splits)
    if _has_reason(folder):
        root, split = str(folder.resolve().parent), folder.resolve().name
        return Layout("reasonseg", "ReasonSegDataset", {"data_root": root, "split": split}, split, (split,))
    return None


def _has_reason(folder: Path) -> bool:
    for _, picture in zip(range(3), folder.glob("*.jpg")):
        try:
            content = read_annotations(picture.with_suffix(".json"))
        except (OSError, ValueError):
            continue
        if _is_reason(content):
            return True
    return False


def _is_reason(content: Any) -> bool:
    return isinstance(content, dict) and {"shapes", "text"} <= content.keys()


def _one_reason(path: Path, content: Any) -> Layout | None:
    return _reasonseg(path.parent, []) if _is_reason(content) else None


def _label_maps(folder: Path, names: list[str]) -> Layout | None:
    pictures = next((name for name in _IMAGE_FOLDERS[:5] if name in names and (folder / name).is_dir()), None)
    maps = next((name for name in _MASK_FOLDERS if name in names and any((folder / name).glob("*.png"))), None)
    if pictures is None or maps is None:
        return None
    try:
        names_file = os.path.basename(find_names(str(folder)))
    except FileNotFoundError:
        if any(name.lower().endswith((".csv", ".tsv", ".json")) for name in names):
            return None  # which says what the masks are
        names_file = None  # the reader says so
    arguments = {"data_root": str(folder), "image_dir": pictures, "mask_dir": maps}
    if names_file is not None:
        arguments["names"] = names_file
    return Layout("label_maps", "LabelMapDataset", arguments)


def _parquet(path: Path) -> Layout:
    tables, _ = find_tables(str(path), None)
    splits = tuple(dict.fromkeys(map(split_of_name, tables))) if path.is_dir() else ()
    split = next((split for split in ("val", "validation", "train", *splits) if split in splits), None)
    first = find_tables(str(path), split)[0][0]
    schema = read_schema(first)
    arguments: dict[str, Any] = {"ann_file": str(path)}
    if split is not None:
        arguments["split"] = split
    problems: tuple[str, ...] = ()
    try:
        columns = find_columns(first, schema, {})
    except ValueError:  # the reader says it
        return Layout("parquet", "ParquetPhraseDataset", arguments, split, splits)
    if not columns.has_bytes:
        arguments["image_root"], problems = image_folder(
            path if path.is_dir() else path.parent, _first_names(first, columns.image)
        )
    return Layout("parquet", "ParquetPhraseDataset", arguments, split, splits, problems)


def _first_names(table: str, column: str) -> list[str]:
    try:
        with pq.ParquetFile(table) as file:
            batch = next(file.iter_batches(_FAR_ENOUGH, columns=[column]), None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{table} cannot be read: {error}") from error
    return [] if batch is None else [name for name in batch.column(0).to_pylist() if isinstance(name, str)]


def _csv(path: Path) -> Layout:
    try:
        header, lines = read_table(str(path))
    except ValueError as error:
        raise _unknown(path, str(error).split(";")[0]) from None
    if len(csv_columns(header)) < 2:
        raise _unknown(path, f"a text whose first line is {str(header[:6])[:120]}")
    columns, arguments, problems = csv_columns(header), {"ann_file": str(path)}, ()
    if CSV_COLUMNS.keys() - columns.keys():
        return Layout("csv", "CsvMaskDataset", arguments)  # the reader says which column it lacks
    for role, name, folders in (("image", "image_root", _IMAGE_FOLDERS), ("mask", "mask_root", _MASK_FOLDERS)):
        cells = [line[columns[role]].strip() for line in lines[:_FAR_ENOUGH] if len(line) == len(header)]
        if not any((path.parent / cell).is_file() for cell in cells):
            found, missing = image_folder(path.parent, cells, folders)
            arguments, problems = arguments | {name: found}, problems + missing
    return Layout("csv", "CsvMaskDataset", arguments, problems=problems)


def _lines(path: Path) -> Layout | None:
    """By the first line: where it is an object of its own, the file is JSON Lines."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(_LONGEST_LINE)
        if not first.lstrip().startswith("{") or len(first) == _LONGEST_LINE:
            return None
        lines = [first, *(line for line, _ in zip(file, range(_FAR_ENOUGH)) if line.strip())]
    entries = [entry for entry in map(parse_record, lines) if isinstance(entry, dict)]
    asked = [entry for entry in entries if {"question", "answer"} <= entry.keys()]
    if not asked:
        if len(entries) == len(lines) > 1:
            raise _unknown(path, f"JSON Lines of {_described(entries).removeprefix('a list of ')}")
        return None
    arguments, problems = {"ann_file": str(path)}, ()
    names = list(_names(asked, "image"))
    if names and not any((path.parent / name).is_file() for name in names):
        arguments["image_root"], problems = image_folder(path.parent, names)
    return Layout("lines", "GroundedLinesDataset", arguments, problems=problems)


def _coco(path: Path, content: Any) -> Layout | None:
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        return None
    images, annotations = (_objects(content[key]) for key in ("images", "annotations"))
    names = [image["file_name"] for image in images if isinstance(image.get("file_name"), str)][:_FAR_ENOUGH]
    image_root, problems = image_folder(path.parent, names)
    arguments: dict[str, Any] = {"ann_file": str(path), "image_root": image_root}
    if any("tokens_positive" in annotation for annotation in annotations):
        return Layout("gcg", "GCGDataset", arguments | {"layout": "flickr"}, problems=problems)
    if any(_LVIS_KEYS & image.keys() or _lacks_name(image) for image in images):
        some = sum(bool(image.get("not_exhaustive_category_ids")) for image in images)
        if some:
            problems += (
                f"{some} images have categories of which not all instances are annotated: a test counts them wrong",
            )
        if not names:
            ends = ["/".join(str(image.get("coco_url")).split("/")[-2:]) for image in images[:_FAR_ENOUGH]]
            arguments["image_root"], missing = image_folder(path.parent, ends)
            problems = tuple(problem for problem in problems if not problem.startswith("no image folder")) + missing
        return Layout(
            "lvis", "CocoPhraseDataset", arguments | {"names": "lvis"}, problems=tuple(dict.fromkeys(problems))
        )
    return Layout("coco", "CocoPhraseDataset", arguments, problems=problems)


def _lacks_name(image: dict[str, Any]) -> bool:
    return "coco_url" in image and "file_name" not in image


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _list_of_records(path: Path, content: Any) -> Layout | None:
    entries = _objects(content)[:_FAR_ENOUGH] if isinstance(content, list) else []
    tells: tuple[tuple[Callable[[dict], bool], str, str, dict[str, str], str], ...] = (
        (lambda entry: "conversations" in entry, "llava", "LlavaDataset", {}, "image"),
        (lambda entry: {"mask", "text"} <= entry.keys(), "sa2va", "Sa2vaDataset", {}, "image"),
        (
            lambda entry: {"caption", "groundings"} <= entry.keys(),
            "gcg",
            "GCGDataset",
            {"layout": "grandf"},
            "file_name",
        ),
        (_is_refcocog, "gcg", "GCGDataset", {"layout": "refcocog"}, "img_file_name"),
    )
    for is_it, kind, reader, more, key in tells:
        if any(map(is_it, entries)):
            image_root, problems = image_folder(path.parent, list(_names(entries, key)))
            return Layout(kind, reader, {"ann_file": str(path), "image_root": image_root, **more}, problems=problems)
    return None


def _is_refcocog(entry: dict) -> bool:
    inner = next(iter(entry.values())) if len(entry) == 1 else None
    return isinstance(inner, dict) and {"img_file_name", "refs"} <= inner.keys()


def _names(entries: list[dict], key: str) -> Iterator[str]:
    for entry in entries:
        found = entry if key in entry else next((part for part in entry.values() if isinstance(part, dict)), {})
        if isinstance(found.get(key), str):
            yield found[key]


def image_folder(folder: Path, names: list[str], called: Sequence[str] = _IMAGE_FOLDERS) -> tuple[str, tuple[str, ...]]:
    """The folder, of those near ``folder`` that are ``called`` so, below which files of these names are; and what is wrong."""
    near = [folder, *(base / name for base in (folder, folder.parent, folder.parent.parent) for name in called)]
    near += [folder.parent] if names else []
    there = [candidate for candidate in near if candidate.is_dir()]
    counts = [sum(os.path.isfile(candidate / name) for name in names) for candidate in there]
    if names and counts and max(counts):
        return str(there[counts.index(max(counts))]), ()
    if not names:
        found = next((candidate for candidate in there if candidate != folder), None)
        if found is not None:
            return str(found), ()
    return str(folder / called[0]), (f"no image folder was found near {folder}: set the root of the {called[0]}",)
