"""mkdocs hook: the page of registered components, and the API pages.

Both are read off the sources. A component is a class with the decorator ``@REGISTRY.register_module()``.
"""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

API = {
    "structures": ("lira_plugin.structures", "What flows: conversations, regions, samples, batches, answers."),
    "datasets": ("lira_plugin.datasets", "Readers, transforms, mixture, sampler, collate."),
    "models": ("lira_plugin.models", "LIRA and its parts."),
    "generation": ("lira_plugin.models.generation", "Algorithm 1 and its settings."),
    "evaluation": ("lira_plugin.evaluation", "Metrics, and the functions that they are made of."),
    "hooks": ("lira_plugin.hooks", "Reproducible and resumable training."),
    "inference": ("lira_plugin.inference", "Asking a model."),
    "visualization": ("lira_plugin.visualization", "Drawing answers."),
    "tokens": ("lira_plugin.tokens", "Special tokens and tokenizers."),
}
"""The public modules, by the name of their page."""
_HEAD = """# Components

Every part that a config can build, by registry. `dict(type="lira_plugin.NAME", ...)` builds one in any MMEngine config
([Parts](../parts.md)). Arguments without a default are required.

"""


class _NamedTuples(logging.Filter):
    """Griffe knows no constructor of a NamedTuple, so it misses the types of what ``Args:`` describes there."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "No type or annotation for parameter" not in record.getMessage()


def on_startup(command, dirty):
    """Let strict builds pass over what griffe cannot know."""
    logging.getLogger("mkdocs.plugins.griffe").addFilter(_NamedTuples())


def on_files(files, config):
    """Write the pages."""
    from mkdocs.structure.files import File  # only here: the tests read these pages without mkdocs

    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "reference/components.md", content=components_page(root)))
    for name, (module, about) in API.items():
        files.append(File.generated(config, f"reference/api/{name}.md", content=api_page(root, name, module, about)))
    return files


def components_page(root: Path) -> str:
    """A section a registry, with each component, its arguments and the first sentence of its docstring."""
    by_registry: dict[str, list[str]] = {}
    for registry, module, node in components(root):
        text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
        signature = f"{node.name}({', '.join(_arguments(node))})"
        entry = f"### {node.name}\n\n{text}\n\n```text\n{_wrapped(signature)}\n```\n\n`{module}`\n"
        by_registry.setdefault(registry, []).append(entry)
    sections = [f"## {registry}\n\n" + "\n".join(sorted(entries)) for registry, entries in sorted(by_registry.items())]
    return _HEAD + "\n".join(sections)


def components(root: Path) -> Iterator[tuple[str, str, ast.ClassDef]]:
    """(registry, module, class) of every registered class of the package."""
    for path in sorted((root / "lira_plugin").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if ".mim" in parts or "configs" in parts:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                function = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(function, ast.Attribute) and function.attr == "register_module":
                    yield ast.unparse(function.value), ".".join(parts), node


def _arguments(node: ast.ClassDef) -> list[str]:
    """The arguments of a constructor or the fields of a data class, with their defaults."""
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            taken = function.args
            positional = taken.args[1:]
            defaults = [None] * (len(positional) - len(taken.defaults)) + list(taken.defaults)
            found = [_with_default(arg.arg, value) for arg, value in zip(positional, defaults[-len(positional) :])]
            found += [f"*{taken.vararg.arg}"] if taken.vararg else []
            found += [_with_default(arg.arg, value) for arg, value in zip(taken.kwonlyargs, taken.kw_defaults)]
            return found + ([f"**{taken.kwarg.arg}"] if taken.kwarg else [])
    fields = [field for field in node.body if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return [_with_default(field.target.id, field.value) for field in fields]
    return [f"... as {' and '.join(ast.unparse(base) for base in node.bases)}"] if node.bases else []


def _with_default(name: str, value: ast.expr | None) -> str:
    return name if value is None else f"{name}={ast.unparse(value)}"


def _wrapped(text: str, width: int = 76) -> str:
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) > width:
            lines.append("    ")
        lines[-1] += word + " "
    return "\n".join(line.rstrip() for line in lines)


def api_page(root: Path, name: str, module: str, about: str) -> str:
    """One directive of mkdocstrings for each public name of a module."""
    base = root.joinpath(*module.split("."))
    source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    origins = public_names(source, module)
    directives = "\n\n".join(f"::: {path}" for path in origins.values())
    return f"# {name.capitalize()}\n\n{about} Import from `{module}`.\n\n{directives}\n"


def public_names(source: Path, module: str) -> dict[str, str]:
    """The names of ``__all__``, or those without an underscore, each with the path where it is defined."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    origins, listed = {}, None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lira_plugin"):
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            origins[node.name] = f"{module}.{node.name}"
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    return {name: origins.get(name, f"{module}.{name}") for name in sorted(listed)} if listed is not None else origins
