"""Who may import whom, where files are, and the size budgets, read from the source without importing it."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import pytest

PACKAGE = "lira_plugin"
ROOT = Path(__file__).parents[1] / PACKAGE
FILES = sorted(path for path in ROOT.rglob("*.py") if ".mim" not in path.parts)

LAYERS = (
    {
        "structures",
        "tokens",
        "registry",
        "checkpoint",
        "precision",
        "distributed",
        "compat",
        "json_file",
        "settings",
        "version",
        "written_aside",
        "end_signals",
        "recipes",
        "command",
        "command_end",
        "shell_completion",
        "lmms_eval_manifest",
    },
    {"datasets", "models", "evaluation"},
    {"hooks", "inference", "visualization", "convert", "describe", "prepare", "scenes"},
    {"web"},
    {"quickstart", "demo", "serving", "labelling"},
)
"""From bottom to top; a part may import those of its own layer and of the layers below."""
SIBLINGS = LAYERS[1]
"""These do not import one another."""
ABOVE = {"configs", "tools", "projects", "benchmarks", "tests", "support"}
"""What uses the package, and is not imported by it."""

FENCES = {
    "xtuner": ("hooks/",),
    "mmdet": (
        "models/pixel_encoder/", "models/from_scratch/", "models/mask_decoder", "models/point_losses",
        "structures/det_samples", "datasets/transforms/det_inputs",
    ),
    "mmcv": ("compat/", "datasets/transforms/", "models/pixel_encoder/", "models/from_scratch/", "models/point_losses"),
    "timm": ("models/semantic_encoder/",),
    "transformers": (
        "models/interleaved_llm", "models/generation/", "models/trainable", "compat/newer_transformers",
        "models/deep_stack", "models/quantized_llm", "convert/",
        "describe/blank_tokenizer", "evaluation/text_similarity", "inference/auto_model",
    ),
    "peft": ("models/trainable", "convert/"),
    "deepspeed": ("compat/", "checkpoint/deepspeed"),
    "gradio": ("demo/",),
    "bitsandbytes": ("models/nf4_linear",),
    "torchao": ("models/quantized_llm",),
    "supervision": ("structures/answer_exports",),
    "ray": ("labelling/ray_labelling",),
    "fastapi": ("serving/",),
    "prometheus_client": ("serving/server_metrics",),
    "lmms_eval": ("inference/lmms_eval_model", "lmms_eval_manifest"),
    "lira_plugin.scenes": ("scenes/", "quickstart/"),
    "lira_plugin.models.from_scratch": ("models/from_scratch/", "models/__init__"),
}  # fmt: skip
"""Modules, and the only files of the package that may import them: an upgrade of one then touches few files."""

SAME_NAMES = set()
"""Base names that two files still share."""


def module_name(path: Path) -> str:
    """``lira_plugin/models/sefe.py`` to ``lira_plugin.models.sefe``, a package's ``__init__.py`` to its name."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}
FOLDERS = sorted(module_name(path) for path in FILES if path.name == "__init__.py")


@lru_cache(None)
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


@lru_cache(None)
def imports_of(path: Path) -> list[str]:
    return list(imports(parse(path), module_name(path), path.name == "__init__.py"))


def top(module: str) -> str:
    """``lira_plugin.models.sefe`` to ``models``; the package itself to ''."""
    return module.split(".")[1] if "." in module else ""


def layer_of(part: str) -> int | None:
    return next((index for index, layer in enumerate(LAYERS) if part in layer), None)


def inner_imports(path: Path) -> list[str]:
    return [name for name in imports_of(path) if is_inside(name, PACKAGE)]


def is_inside(name: str, module: str) -> bool:
    """Whether a dotted name is that of a module or of something in it."""
    return f"{name}.".startswith(f"{module}.")


def layering_error(importer: str, imported: str) -> str | None:
    """What is wrong with a file of the part ``importer`` importing the part ``imported``, if anything."""
    if importer == imported or imported in ("", "version"):
        return None
    low, high = layer_of(imported), layer_of(importer)
    if low is None or high is None:
        return f"{imported if low is None else importer} belongs to no layer"
    if low > high:
        return f"{importer} must not import {imported}, which lies above it"
    if {importer, imported} <= SIBLINGS:
        return f"{importer} must not import {imported}, its sibling"
    return None


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
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


def at_run_time(tree: ast.Module) -> ast.Module:
    """Without what stands under ``if TYPE_CHECKING:``, which is there for readers and type checkers and loads nothing."""

    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    return Drop().visit(tree)


def loaded_by(module: str) -> set[str]:
    """The modules of the package that a module imports when it is run."""
    path = MODULES[module]
    names = imports(at_run_time(parse(path)), module, path.name == "__init__.py")
    found = {resolve(name) for name in names if is_inside(name, PACKAGE)}
    return found - {None, module}


IMPORTS = {module: loaded_by(module) for module in MODULES}
"""The modules of the package that each of them imports."""


def entry_of(module: str, folder: str) -> str | None:
    """The file or subfolder directly in ``folder`` that a module is or lies in; None for one outside."""
    if not is_inside(module, folder):
        return None
    return module.removeprefix(folder).lstrip(".").split(".")[0] or "__init__"


def folder_graph(folder: str, edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Which of the files and subfolders of ``folder`` import which, each subfolder taken as a whole."""
    graph: dict[str, set[str]] = defaultdict(set)
    for module, targets in edges.items():
        if entry := entry_of(module, folder):
            graph[entry] |= {other for target in targets if (other := entry_of(target, folder))} - {entry}
    return graph


def reachable(module: str) -> set[str]:
    """All modules that importing one imports."""
    found, waiting = set(), [module]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += IMPORTS[name]
    return found


def registered_in(tree: ast.Module) -> Iterator[str]:
    """The registries that a file's decorators ``@REGISTRY.register_module()`` name."""
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            function = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(function, ast.Attribute) and function.attr == "register_module":
                yield function.value.id


def registry_locations() -> dict[str, str]:
    """Names of the registries in ``registry.py`` that hold parts of ours, and the module that MMEngine imports for each."""
    return {
        node.targets[0].id: node.value.args[1].value
        for node in parse(ROOT / "registry.py").body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.value.args) == 2
    }


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
def test_imports_stay_within_their_fences(path):
    place, names = path.relative_to(ROOT).as_posix(), imports_of(path)
    outside = {name for name in names if name.split(".")[0] in ABOVE}
    assert not outside, f"{path} imports {sorted(outside)}, which lies above the package"
    for module, allowed in FENCES.items():
        used = [name for name in names if is_inside(name, module)]
        assert not used or place.startswith(allowed), f"{path} imports {used[0]}: only {', '.join(allowed)} may"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_import_runs_back_up_inside_a_folder(folder):
    """What a subfolder's files import of the files beside it must not import the subfolder: no circle in any folder."""
    circle = cycle(folder_graph(folder, IMPORTS))
    assert not circle, f"in {folder}: {' -> '.join(circle)}"


@pytest.mark.parametrize("path", sorted((ROOT / "compat").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_patch_says_what_it_mends_and_when_it_can_go(path):
    said = " ".join(ast.get_docstring(parse(path)).split())
    assert re.search(r"[Mm]ends \w+ \d+\.\d+", said) and "can go when" in said, f"{path}: {said}"


def test_base_names_are_unique():
    names = Counter(path.stem for path in FILES if path.stem not in {"__init__", *SAME_NAMES})
    twice = [str(path.relative_to(ROOT)) for path in FILES if names[path.stem] > 1]
    assert not twice, f"name these after what sets them apart: {twice}"


@by_file
def test_what_is_registered_is_found_by_its_registry(path):
    """MMEngine imports the registry's location, and nothing else, before it looks a name up."""
    locations = registry_locations()
    for registry in registered_in(parse(path)):
        location = locations[registry]
        assert module_name(path) in reachable(location), f"{path} registers in {registry}; name it in {location}"


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
    if path.name == "command.py":  # a command prints
        found = [what for what in found if not what.endswith("print")]
    assert not found, f"{path}: {found}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("models", "structures", True),
        ("models", "models", True),
        ("models", "checkpoint", True),
        ("hooks", "datasets", True),
        ("registry", "compat", True),
        ("inference", "visualization", True),
        ("quickstart", "scenes", True),
        ("structures", "models", False),
        ("checkpoint", "models", False),
        ("models", "datasets", False),
        ("evaluation", "models", False),
        ("datasets", "scenes", False),
        ("datasets", "hooks", False),
        ("models", "elsewhere", False),
    ],
)
def test_the_layer_rule_itself(importer, imported, allowed):
    assert (layering_error(importer, imported) is None) == allowed


def test_the_folder_rule_itself():
    edges = {
        "p.lira": {"p.engine.loop"},
        "p.engine": {"p.engine.loop"},
        "p.engine.loop": {"p.engine.state"},
        "p.engine.state": {"q"},
        "q": set(),
    }
    graph = folder_graph("p", edges)
    assert graph == {"lira": {"engine"}, "engine": set()}
    assert folder_graph("p.engine", edges) == {"__init__": {"loop"}, "loop": {"state"}, "state": set()}
    assert cycle(folder_graph("p", edges | {"p.engine.state": {"p.lira"}})) == ["engine", "lira", "engine"]
    assert cycle(folder_graph("p.engine", edges | {"p.engine.state": {"p.engine"}})), "its own __init__"
    assert entry_of("p.engine_room", "p.engine") is None


def test_the_readers_themselves():
    source = "import a.b as c\nfrom . import d\nfrom ..e import f\ndef g():\n    from h.i import j\n"
    assert list(imports(ast.parse(source), "p.q.r", False)) == ["a.b", "p.q.d", "p.e.f", "h.i.j"]
    assert list(imports(ast.parse("from . import d"), "p.q", True)) == ["p.q.d"]
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nif b:\n    import c\n"
    assert list(imports(at_run_time(ast.parse(typed)), "p", False)) == ["typing.TYPE_CHECKING", "c"]
    bad = "from x import *\ntry:\n    print(1)\nexcept:\n    pass\n"
    assert len(forbidden(ast.parse(bad))) == 3
    (function,) = ast.parse("def __init__(self, a, /, b, *c, d, **e): ...").body
    assert parameters(function) == 5
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert list(registered_in(ast.parse("@HOOKS.register_module()\nclass A: ...\n@b\nclass C: ..."))) == ["HOOKS"]
    assert registry_locations()["DATA_SAMPLERS"] == "lira_plugin.datasets"


def test_test_files_have_names_of_their_own():
    """pytest imports them by name alone: of two with one name, one would import from the other."""
    names = [path.name for path in (ROOT.parent / "tests").rglob("test_*.py")]
    assert len(names) > 100 and len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
