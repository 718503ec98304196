"""The objects that COCO's files say an image shows: its instances, and what its reference captions name."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from lira_plugin.evaluation.object_words import ObjectWords, coco_words, names_as_words, normal_words
from lira_plugin.json_file import check_is_file, read_json
from lira_plugin.structures import shown

Id = int | str
CategoryKey = Literal["name", "supercategory"]
File = TypeVar("File")


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str | None = None


class _Instance(msgspec.Struct, gc=False):
    image_id: Id
    category_id: Id


class _Category(msgspec.Struct, gc=False):
    id: Id
    name: str
    supercategory: str | None = None


class _Caption(msgspec.Struct, gc=False):
    image_id: Id
    caption: str


class _Instances(msgspec.Struct):
    annotations: list[_Instance]
    categories: list[_Category]
    images: list[_Image] | None = None


class _Captions(msgspec.Struct):
    annotations: list[_Caption]


@dataclass(frozen=True)
class CocoObjects:
    """What the images of COCO files show.

    Args:
        words: that name the objects in captions.
        instances: the objects of the instances of each image, by its id as text; of those without instances too.
        captions: the reference captions of an image, by its id as text.
        file_names: of the images, by their ids as texts, where the files say.
        files: those read, by their names.
    """

    words: ObjectWords
    instances: Mapping[str, frozenset[str]]
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    file_names: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def id_of_name(self) -> dict[str, str]:
        """The id of an image by itself, and by its file name without folder and suffix."""
        by_stem = {Path(name).stem: image_id for image_id, name in self.file_names.items()}
        return by_stem | {image_id: image_id for image_id in self.instances}

    def unknown(self, name: str) -> str:
        """What to say of an image that the files do not list."""
        files = ", ".join(map(str, self.files.values()))
        return f"image {name!r} is not in {files}; add the file of instances that lists it, or leave the image out"

    def of_image(self, image_id: str) -> frozenset[str]:
        """The objects of an image: those of its instances and those that its reference captions name.

        Raises:
            KeyError: the files do not list the image.
        """
        named = (self.words.look_up(caption).mentions for caption in self.captions.get(image_id, ()))
        return self.instances[image_id] | {mention.object for mentions in named for mention in mentions}


def read_coco_objects(
    path: str | os.PathLike, synonyms: str | os.PathLike | None = None, category_key: CategoryKey = "name"
) -> CocoObjects:
    """Read the objects of images from COCO's files.

    Args:
        path: a folder with ``instances*.json`` and ``captions*.json`` (or one with a folder ``annotations`` that has them), of
            which all are read; or one file of instances. Without captions, the objects are those of the instances.
        synonyms: file of words, see :func:`~lira_plugin.evaluation.object_words.coco_words`. None takes the list of this package
            where it has all categories, as COCO's, and else the names of the categories themselves.
        category_key: what of a category names the object.

    Raises:
        FileNotFoundError: there is no such file or folder, or no file of instances in it.
        ValueError: a file is not of its layout, or the list of words lacks a category. The message names file, entry and value.
    """
    instance_files, caption_files = _files_in(Path(path))
    found = {
        file: _decoded(file, _Instances, "instances", "annotations, categories, images") for file in instance_files
    }
    names = {
        normal_words(_name_of(file, category, category_key)): f"{file}: category {category.id!r}"
        for file, content in found.items()
        for category in content.categories
    }
    words = _words_for(names, synonyms)
    instances: dict[str, set[str]] = {}
    file_names: dict[str, str] = {}
    for file, content in found.items():
        _add_instances(file, content, category_key, words, instances, file_names)
    captions: dict[str, list[str]] = {}
    all_listed = all(content.images is not None for content in found.values())
    for file in caption_files:
        for entry in _decoded(file, _Captions, "captions", "annotations").annotations:
            if not all_listed:
                instances.setdefault(str(entry.image_id), set())
            if str(entry.image_id) in instances:
                captions.setdefault(str(entry.image_id), []).append(entry.caption)
    return CocoObjects(
        words,
        {image_id: frozenset(objects) for image_id, objects in instances.items()},
        captions,
        file_names,
        {file.name: file for file in (*instance_files, *caption_files)},
    )


def _files_in(path: Path) -> tuple[list[Path], list[Path]]:
    """Files of instances and of captions."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder of COCO annotations {path}")
    if not path.is_dir():
        return [path], []
    for folder in (path, path / "annotations"):
        if instance_files := sorted(folder.glob("instances*.json")):
            return instance_files, sorted(folder.glob("captions*.json"))
    raise FileNotFoundError(
        f"{path} holds no instances*.json: the objects of images are read from COCO's files of instances and captions, such as "
        "instances_val2014.json and captions_val2014.json"
    )


def _words_for(names: Mapping[str, str], synonyms: str | os.PathLike | None) -> ObjectWords:
    """The words that fit categories, given by their names with where they are from."""
    words = coco_words(synonyms)
    lacking = [name for name in names if name not in words.object_of]
    if not lacking:
        return words
    if synonyms is None:
        return names_as_words(names)
    raise ValueError(
        f"{names[lacking[0]]} is {lacking[0]!r}, which {synonyms} does not have; add a line with its words, its name first"
    )


def _add_instances(
    file: Path,
    content: _Instances,
    category_key: CategoryKey,
    words: ObjectWords,
    instances: dict[str, set[str]],
    file_names: dict[str, str],
) -> None:
    own: dict[Id, set[str]] = {}
    listed = [_Image(entry.image_id) for entry in content.annotations] if content.images is None else content.images
    for image in listed:
        own[image.id] = instances.setdefault(str(image.id), set())
        if image.file_name is not None:
            file_names[str(image.id)] = image.file_name
    object_of = {
        category.id: words.object_of[normal_words(_name_of(file, category, category_key))]
        for category in content.categories
    }
    for position, entry in enumerate(content.annotations):
        for kind, value, known in (("image", entry.image_id, own), ("category", entry.category_id, object_of)):
            if value not in known:
                raise ValueError(
                    f"{file}: the annotation at position {position} names {kind} {value!r}, which the file does not have; add "
                    f"the {kind} or remove the annotation"
                )
        own[entry.image_id].add(object_of[entry.category_id])


def _name_of(file: Path, category: _Category, key: CategoryKey) -> str:
    name = category.name if key == "name" else category.supercategory
    if not name or not name.strip():
        raise ValueError(f"{file}: category {category.id!r} has the {key} {name!r}; it must say what the object is")
    return name


def _decoded(path: Path, kind: type[File], what: str, parts: str) -> File:
    """Read a JSON file, of which only the entries that are needed are kept in memory."""
    check_is_file(path)
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        content = read_json(path)  # names what is no JSON; takes a byte order mark, and NaN in keys that are not read
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{path} is not a COCO file of {what}, an object with the lists {parts}: {error}; it is "
            f"{shown(_value_at(content, str(error)))}"
        ) from error


def _value_at(content: Any, message: str) -> Any:
    """The value that a message of msgspec is about."""
    found = re.search(r"`\$(.*?)`$", message)
    for key, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", found.group(1) if found else ""):
        content = content[key] if key else content[int(index)]
    return content
