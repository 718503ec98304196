"""docs/api.md is the public interface: what it lists is there with these arguments, and guides and projects use nothing else."""

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from enum import EnumMeta
from functools import cache
from operator import attrgetter
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from support.paths import ROOT

from lira_plugin import registry as registries

DOCUMENT = ROOT / "docs" / "api.md"
PACKAGES = (
    "structures", "datasets", "models", "models.generation", "evaluation", "hooks", "visualization", "inference", "convert",
)  # fmt: skip
"""Of these every name of ``__all__`` is public; of other modules those alone that are listed."""
USERS = sorted(
    [
        *ROOT.glob("docs/*.md"),
        ROOT / "docs" / "tour.ipynb",
        ROOT / "README.md",
        *ROOT.glob("projects/*/README.md"),
        *ROOT.glob("projects/**/*.py"),
    ]
)


class Section(NamedTuple):
    """A block of the document."""

    module: str
    registry: str | None
    entries: tuple[str, ...]
    """Each a name, or a name with its arguments."""


@cache
def sections() -> list[Section]:
    found, module, registry, block = [], "", None, None
    for line in DOCUMENT.read_text().splitlines():
        if heading := re.match(r"#+ `(lira_plugin[\w.]*)`$", line):
            module, registry = heading[1], None
        elif said := re.match(r"Registered in `(\w+)`", line):
            registry = said[1]
        elif line.startswith("Further"):
            registry = None
        elif line == "```text":
            block = []
        elif line == "```" and block is not None:
            found.append(Section(module, registry, tuple(block)))
            block = None
        elif block is not None and line.startswith(" "):
            block[-1] += " " + line.strip()
        elif block is not None:
            block.append(line)
    return found


def documented() -> dict[str, set[str]]:
    """The names that each module is said to have."""
    names: dict[str, set[str]] = {}
    for section in sections():
        names.setdefault(section.module, set()).update(re.match(r"\w+", entry)[0] for entry in section.entries)
    return names


def entry_of(name: str, thing: Any) -> str:
    """A name as the document has it: with the arguments that a caller gives, and their defaults where these are plain values."""
    if isinstance(thing, property | EnumMeta) or not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return name
    if inspect.isclass(thing) and (thing.__dict__.get("_is_protocol") or has_foreign_arguments(thing)):
        return name
    parts, kinds = [], inspect.Parameter
    parameters = list(inspect.signature(thing).parameters.values())
    if "." in name and not inspect.ismethod(thing):
        parameters = parameters[1:]  # self
    for parameter in parameters:
        if parameter.kind is kinds.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is kinds.empty else f"={plain(parameter.default)}"
        parts.append(f"{star}{parameter.name}{default}")
    return f"{name}({', '.join(parts)})"


def has_foreign_arguments(made: type) -> bool:
    """Whether another package decides what a class is built with; it may change them."""
    owner = next(base for base in made.__mro__ if "__init__" in vars(base))
    return owner not in (object, BaseException) and not owner.__module__.startswith("lira_plugin")


def plain(value: Any) -> str:
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError):
        return "..."
    return repr(value)


def differences(module: Any, entries: tuple[str, ...]) -> list[str]:
    """What a module does not have, or has otherwise than the document says."""
    found = []
    for entry in entries:
        name = re.match(r"[\w.]+", entry)[0]
        try:
            actual = entry_of(name, attrgetter(name)(module))
        except AttributeError:
            actual = "nothing of this name"
        if actual != entry:
            found.append(f"docs/api.md says {entry}; there is {actual}")
    return found


by_section = pytest.mark.parametrize(
    "section", sections(), ids=lambda section: f"{section.module}-{section.registry or 'further'}"
)


@by_section
def test_what_is_listed_is_there_with_these_arguments(section):
    """A public name or argument that goes, or gets another name or default, breaks what others have written."""
    assert not differences(importlib.import_module(section.module), section.entries)


@by_section
def test_registered_parts_are_built_by_these_names(section):
    if section.registry is None:
        return
    registry = getattr(registries, section.registry)
    registry.import_from_location()
    names = {re.match(r"\w+", entry)[0] for entry in section.entries}
    ours = {name for name, made in registry.module_dict.items() if made.__module__.startswith("lira_plugin")}
    assert names == ours


def test_every_registry_with_parts_of_ours_is_listed():
    listed = {section.registry for section in sections()} - {None}
    named = {name for name in vars(registries) if name.isupper() and hasattr(getattr(registries, name), "module_dict")}
    assert named == listed


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_of_a_package_are_listed(package):
    module = importlib.import_module(f"lira_plugin.{package}")
    assert documented()[module.__name__] == set(module.__all__)


@pytest.mark.parametrize("change", ["name", "argument", "default", "required"])
def test_a_change_is_found(change):
    module = ModuleType("fake")
    sources = {
        "name": "def other(a, b=1, *, c=None): ...",
        "argument": "def made(a, *, c=None): ...",
        "default": "def made(a, b=2, *, c=None): ...",
        "required": "def made(a, b=1, *, c): ...",
    }
    entry = ("made(a, b=1, *, c=None)",)
    exec("def made(a, b=1, *, c=None): ...", vars(module))
    assert not differences(module, entry)
    del module.made
    exec(sources[change], vars(module))
    assert len(differences(module, entry)) == 1


def code_of(path) -> Iterator[ast.Module]:
    text = path.read_text()
    match path.suffix:
        case ".md":
            sources = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        case ".ipynb":
            cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            sources = [re.sub(r"^( *)%.*", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE) for cell in cells]
        case _:
            sources = [text]
    yield from map(ast.parse, sources)


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_guides_and_projects_use_what_is_public(path):
    public, foreign = documented(), []
    for tree in code_of(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and is_ours(node.module or ""):
                names = {alias.name for alias in node.names}
                foreign += [f"{node.module}: {name}" for name in names - public.get(node.module, set())]
            elif isinstance(node, ast.Attribute) and is_private(node):
                foreign.append(f"the private {node.attr}")
    assert not foreign


def is_ours(module: str) -> bool:
    """Whether a module belongs to the package; its configs are recipes."""
    return module.split(".")[0] == "lira_plugin" and not module.startswith("lira_plugin.configs")


def is_private(node: ast.Attribute) -> bool:
    """Whether somebody reads an attribute of something else that begins with one underscore."""
    own = ("self", "cls", "super()")
    return bool(re.match(r"_(?!_)", node.attr)) and ast.unparse(node.value) not in own
