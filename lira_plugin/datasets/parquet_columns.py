"""Which columns of a parquet table are what, and the tables of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROLES = {
    "phrase": (
        *("sentences", "sentence", "sents", "sent", "expressions", "expression", "referring_expressions"),
        *("referring_expression", "ref_exp", "phrases", "phrase", "texts", "text", "query", "caption", "answer"),
    ),
    "mask": ("mask", "masks", "segmentation", "segmentations", "rle", "mask_rle", "polygons", "polygon", "raw_anns"),
    "image": ("image", "img", "image_bytes", "image_path", "img_path", "image_file", "file_name", "filename"),
}
"""Names that columns have in published tables; the first one that is there counts."""
_LISTS = ("samples", "objects", "annotations", "refs", "regions")
"""Columns that hold the objects of an image as a list."""
_OTHERS = ("image_id", "ref_id", "ann_id", "question_id", "id", "split", "height", "width", "raw_image_info")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by their role.

    Args:
        phrase, mask, image: names of columns, or of fields of the objects in ``objects``.
        objects: name of the column with a list of objects, if there is such.
        read: columns to read, without the image.
        has_bytes: whether the table holds its images.
    """

    phrase: str
    mask: str
    image: str
    objects: str | None
    read: tuple[str, ...]
    has_bytes: bool


def find_columns(path: str, schema: pa.Schema, given: Mapping[str, str]) -> Columns:
    """Tell the columns of a table by their names and types.

    Args:
        path: for messages.
        schema: of the table.
        given: name by role, for tables with other names.

    Raises:
        ValueError: there is no column for a role, or two of one name.
    """
    if unknown := sorted(given.keys() - ROLES.keys()):
        raise ValueError(f"columns are named by the roles {sorted(ROLES)}, got {unknown}")
    known_names = {*given.values(), *_LISTS, *_OTHERS, *(name for names in ROLES.values() for name in names)}
    _check_unique(path, "columns", [name for name in schema.names if name in known_names])
    objects, inner = _objects_column(path, schema)
    found = {}
    for role, known in ROLES.items():
        names = (given[role],) if role in given else known
        for name in names:
            kind = inner.get(name) if role != "image" and name in inner else _type(schema, name)
            if kind is not None and (role in given or _serves(role, name, kind)):
                found[role] = name
                break
    if missing := [role for role in ROLES if role not in found]:
        raise ValueError(
            f"{path} has no column for {missing}: it has {schema.names}; say with columns={{'{missing[0]}': NAME}} which it is"
        )
    if not (found["phrase"] in inner and found["mask"] in inner):
        objects = None
    kind = _type(schema, found["image"])
    wanted = (objects,) if objects else (found["phrase"], found["mask"])
    read = [name for name in (*wanted, *_OTHERS) if name in schema.names]
    if not _holds_bytes(kind):
        read.append(found["image"])
    return Columns(
        found["phrase"], found["mask"], found["image"], objects, tuple(dict.fromkeys(read)), _holds_bytes(kind)
    )


def find_tables(path: str, split: str | None) -> tuple[list[str], bool]:
    """The parquet files of a data set: the file itself, or those in a folder whose names begin with the split.

    Returns:
        The paths, and whether their names say the split.

    Raises:
        FileNotFoundError: there are none.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    files = sorted(map(str, Path(path).rglob("*.parquet"))) if Path(path).is_dir() else [str(path)]
    if not files:
        raise FileNotFoundError(f"{path} holds no parquet file")
    of_split = [name for name in files if split and split_of_name(name) == split]
    return of_split or files, bool(of_split)


def split_of_name(path: str) -> str:
    """The split that a file's name says, such as ``val`` of ``val-00000-of-00001.parquet``."""
    return Path(path).stem.split("-")[0]


def read_schema(path: str) -> pa.Schema:
    """The schema of a table.

    Raises:
        ValueError: it is no parquet file, perhaps because it is cut off.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a parquet file (is it complete?): {error}") from error


def _check_unique(path: str, what: str, names: Sequence[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} has several {what} {repeated}: keep one of each")


def _objects_column(path: str, schema: pa.Schema) -> tuple[str | None, dict[str, pa.DataType]]:
    for name in _LISTS:
        kind = _type(schema, name)
        if kind is not None and _is_list(kind) and pa.types.is_struct(kind.value_type):
            _check_unique(path, f"fields of {name!r}", [field.name for field in kind.value_type])
            return name, {field.name: field.type for field in kind.value_type}
    return None, {}


def _serves(role: str, name: str, kind: pa.DataType) -> bool:
    """Whether the type of a column fits its role; an answer that is one text is to a question, and no expression."""
    if role == "phrase":
        return _is_list(kind) or ((pa.types.is_string(kind) or pa.types.is_large_string(kind)) and name != "answer")
    if role == "image":
        return pa.types.is_string(kind) or pa.types.is_large_string(kind) or _holds_bytes(kind)
    return not pa.types.is_integer(kind) and not pa.types.is_floating(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _holds_bytes(kind: pa.DataType) -> bool:
    kinds = [field.type for field in kind if field.name == "bytes"] if pa.types.is_struct(kind) else [kind]
    return any(_is_bytes(own) or (own is not kind and pa.types.is_null(own)) for own in kinds)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _type(schema: pa.Schema, name: str) -> pa.DataType | None:
    kind = schema.field(name).type if name in schema.names else None
    return kind.value_type if kind is not None and pa.types.is_dictionary(kind) else kind


def same_columns(paths: Sequence[str], given: Mapping[str, str]) -> Columns:
    """The columns of tables that belong together.

    Raises:
        ValueError: they differ; and as :func:`find_columns`.
    """
    first = find_columns(paths[0], read_schema(paths[0]), given)
    for path in paths[1:]:
        if (other := find_columns(path, read_schema(path), given)) != first:
            raise ValueError(
                f"{path} has other columns than {paths[0]}: {other.read} and {first.read}; read them one by one"
            )
    return first
