"""Who may import whom, and the size budgets, read from the source without importing it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "lira_plugin"
ROOT = Path(__file__).parents[1] / PACKAGE
FILES = sorted(path for path in ROOT.rglob("*.py") if ".mim" not in path.parts)

LAYERS = (
    {"structures", "tokens", "registry", "compat", "json_file", "processes", "config_text", "version"},
    {"datasets", "models", "evaluation"},
    {"hooks", "inference", "visualization", "convert", "describe"},
    {"quickstart", "demo"},
)
LLM_FILES = (
    "models/interleaved_llm", "models/decoder_pass", "models/generation/", "models/trainable", "models/qwen2_vl_encoder",
)  # fmt: skip
LLM_WORDS = ("llm", "tokeniz", "generat")


def module_name(path: Path) -> str:
    """``lira_plugin/models/sefe.py`` to ``lira_plugin.models.sefe``, a package's ``__init__.py`` to its name."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.Module, name: str, is_package: bool) -> Iterator[str]:
    """All imported dotted names, inside of functions too; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".") if is_package else name.split(".")[:-1]
            base = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> list[str]:
    return list(imports(parse(path), module_name(path), path.name == "__init__.py"))


def top(module: str) -> str:
    """``lira_plugin.models.sefe`` to ``models``; the package itself to ''."""
    return module.split(".")[1] if "." in module else ""


def layer_of(part: str) -> int | None:
    return next((number for number, layer in enumerate(LAYERS) if part in layer), None)


def inner_imports(path: Path) -> list[str]:
    return [name for name in imports_of(path) if name.split(".")[0] == PACKAGE]


def outer_imports(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def layering_error(importer: str, imported: str) -> str | None:
    """What is wrong with a file of the part ``importer`` importing the part ``imported``, if anything."""
    if importer == imported or imported in ("", "version"):
        return None
    low, high = layer_of(imported), layer_of(importer)
    if low is None or high is None:
        return f"{imported if low is None else importer} belongs to no layer"
    if low > high:
        return f"{importer} must not import {imported}, which lies above it"
    if low == high == 1:
        return f"{importer} must not import {imported}, its sibling"
    return None


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of the graph as the nodes along it, empty if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        found = next((circle for child in sorted(graph[node]) if (circle := visit(child, [*path, node]))), [])
        done.add(node)
        return found

    return next((circle for node in sorted(graph) if (circle := visit(node, []))), [])


def resolve(name: str) -> str | None:
    """The module that ``from a import b`` loads: ``a.b`` where that is a module, else ``a``."""
    return name if name in MODULES else next((cut for cut in [name.rpartition(".")[0]] if cut in MODULES), None)


def function_lengths(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.end_lineno - node.lineno + 1


def parameters(function: ast.FunctionDef) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len(named) - 1 + sum(extra is not None for extra in (arguments.vararg, arguments.kwarg))


def forbidden(tree: ast.Module) -> list[str]:
    """Prints, bare excepts and wildcard imports, with their lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(f"line {node.lineno}: print")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"line {node.lineno}: bare except")
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append(f"line {node.lineno}: import *")
    return found


by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@by_file
def test_imports_point_downwards(path):
    part = top(module_name(path))
    if not part:  # lira_plugin/__init__.py, which every other file imports
        assert {top(name) for name in inner_imports(path)} <= {"compat", "version"}
        return
    errors = {error for name in inner_imports(path) if (error := layering_error(part, top(name)))}
    assert not errors, f"{path}: {sorted(errors)}"


@by_file
def test_third_parties_stay_behind_their_fences(path):
    part, used = top(module_name(path)), outer_imports(path)
    place = path.relative_to(ROOT).as_posix()
    if part != "hooks":
        assert "xtuner" not in used, f"{path}: only lira_plugin/hooks may import xtuner"
    if part != "models":
        assert "mmdet" not in used, f"{path}: only lira_plugin/models may import mmdet"
    if part != "convert" and not place.startswith(LLM_FILES) and not any(word in path.stem for word in LLM_WORDS):
        assert not used & {"transformers", "peft"}, f"{path}: only the LLM files may import transformers and peft"


def test_no_circles():
    graph = {
        module: {target for name in inner_imports(path) if (target := resolve(name)) and target != module}
        for module, path in MODULES.items()
    }
    circle = cycle(graph)
    assert not circle, " -> ".join(circle)


@by_file
def test_budgets(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{path} has {lines} lines, at most 400"
    for function, length in function_lengths(parse(path)):
        limit = 60 if function.name in ("forward", "loss", "predict") else 100
        assert length <= limit, f"{path}:{function.lineno}: {function.name} has {length} lines, at most {limit}"
        if function.name == "__init__":
            count = parameters(function)
            assert count <= 12, f"{path}:{function.lineno}: the constructor has {count} parameters, at most 12"


@by_file
def test_no_print_bare_except_or_wildcard(path):
    found = forbidden(parse(path))
    assert not found, f"{path}: {found}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("models", "structures", True),
        ("models", "models", True),
        ("hooks", "datasets", True),
        ("registry", "compat", True),
        ("inference", "visualization", True),
        ("structures", "models", False),
        ("models", "datasets", False),
        ("evaluation", "models", False),
        ("datasets", "hooks", False),
        ("models", "elsewhere", False),
    ],
)
def test_the_layer_rule_itself(importer, imported, allowed):
    assert (layering_error(importer, imported) is None) == allowed


def test_the_readers_themselves():
    source = "import a.b as c\nfrom . import d\nfrom ..e import f\ndef g():\n    from h.i import j\n"
    assert list(imports(ast.parse(source), "p.q.r", False)) == ["a.b", "p.q.d", "p.e.f", "h.i.j"]
    assert list(imports(ast.parse("from . import d"), "p.q", True)) == ["p.q.d"]
    bad = "from x import *\ntry:\n    print(1)\nexcept:\n    pass\n"
    assert len(forbidden(ast.parse(bad))) == 3
    (function,) = ast.parse("def __init__(self, a, /, b, *c, d, **e): ...").body
    assert parameters(function) == 5
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
