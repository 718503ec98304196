"""The words of the code: names that say little, or that once meant something else, stay out of identifiers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("lira_plugin", "configs", "tools", "benchmarks", "projects")

INSTEAD = {
    "Row": "AnswerState for an answer in the making, Result for a line of a table",
    "RowKind": "TokenKind",
    "Seen": "EncodedImages",
    "MaskView": "MaskStage; a view is the crop of a region",
    "Pyramid": "DecoderMemory",
    "feed": "pending_embeds",
    "segs": "pending_segs, or what it says of the <seg> tokens",
    "script": "forced_tokens",
    "hint": "a name for what it tells, such as first_guess or data_root_help",
    "trust": "budget",
    "barred": "blocked_ids",
    "tail": "partial_text",
    "chosen": "sampled or num_sampled for tokens; selected, drawn or best for others",
    "_see": "encode_images",
    "_read": "embed_sequence, or what is read: _read_image",
    "_serve": "a name for what it gives: _encode_views",
    "in_parts": "split_for_memory",
    "part_of": "slice_batch",
    "weights_left_out": "is_meta_init",
    "refuse_others": "check_before_load",
    "prompted": "prompt_loss_weight",
    "anchored": "grid_queries",
    "number": "index, count or length",
    "numbers": "indices, counts or lengths",
    "place": "index, position (in the LLM's sequence), or where it is: path, box",
    "places": "indices, positions (in the LLM's sequence), or where they are: paths, points",
}
THIRD_PARTIES = {"gr"}
"""Modules by the name they are imported as, whose attributes are theirs to name: gradio has a ``Row``."""

FILES = sorted(
    path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if ".mim" not in path.parts
)


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The names that code gives to or takes from its own parts, with their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module)) if module in THIRD_PARTIES:
                pass
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name), value=value):
                yield name, value.lineno
            case ast.alias(name=name, asname=other):
                yield from ((part, node.lineno) for part in (*name.split("."), other or ""))


def errors(tree: ast.Module) -> list[str]:
    """Every banned name with its line and what to take instead; a leading underscore does not help."""
    found = {(line, name) for name, line in identifiers(tree) if name in INSTEAD or name.lstrip("_") in INSTEAD}
    return [
        f"line {line}: {name!r}; take {INSTEAD.get(name) or INSTEAD[name.lstrip('_')]}" for line, name in sorted(found)
    ]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_names_say_what_they_mean(path):
    found = errors(ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path)))
    assert not found, f"{path}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "number = 1",
        "x.number",
        "f(number=1)",
        "def number(): ...",
        "def f(number): ...",
        "class _Row: ...",
        "from a import b as number",
        "for _number in x: ...",
        "lambda *numbers: 1",
        "[place for place in x]",
    ],
)
def test_every_kind_of_identifier_is_looked_at(code):
    assert len(errors(ast.parse(code))) == 1


def test_what_is_not_ours_to_name_is_left_alone():
    assert not errors(ast.parse('gr.Row()\nx = {"number": 1}\n"""the number of rows"""\nnum_places = 1'))
