"""mkdocs hook: the page of all commands, from the sources of the tools.

Nothing is imported, so the site builds without torch. What the sources say in plain values is shown; what a tool computes, such
as the names of all data sets, is shown by its ``--help``.
"""

import ast
from pathlib import Path

PAGE = "reference/commands.md"
_HEAD = """# Commands

`lira COMMAND` runs from any folder once the package is installed; in a checkout put `uv run` in front. The same tools are
`python tools/NAME.py`. `lira COMMAND --help` says more. `--debug` shows the traceback of an error.
`eval "$(lira --completion bash)"`, or `zsh`, lets your shell complete commands, options and recipes.

| command | does |
| --- | --- |
| [`lira recipes`](#lira-recipes) | lists the recipes, and begins one of your own |
| `lira train` | `xtuner train` with a recipe by name or path |
| `lira test` | `xtuner test` |
"""


def on_files(files, config):
    """Write the page."""
    from mkdocs.structure.files import File  # only here: the tests read these pages without mkdocs

    root = Path(config.config_file_path).parent
    files.append(File.generated(config, PAGE, content=commands_page(root)))
    return files


def commands_page(root: Path) -> str:
    """Markdown with a table of all commands, and a section each."""
    sources = {path.stem.replace("_", "-"): path for path in sorted((root / "tools").glob("*.py"))}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in sources.items()}
    table = [f"| [`lira {name}`](#lira-{name}) | {_cell(_doc(tree)[0])} |" for name, tree in trees.items()]
    recipes = ast.parse((root / "lira_plugin" / "command.py").read_text(encoding="utf-8"))
    [function] = [node for node in recipes.body if isinstance(node, ast.FunctionDef) and node.name == "_recipes"]
    sections = [f"## lira recipes\n\n{_options(function)}"]
    for name, tree in trees.items():
        summary, examples = _doc(tree)
        sections.append(f"## lira {name}\n\n{summary}\n\n{examples}\n\n{_options(tree)}")
    return "\n".join([_HEAD.rstrip(), *table, "", "\n\n".join(sections), ""])


def _doc(tree: ast.Module) -> tuple[str, str]:
    """The first sentence of a tool's docstring, and the rest with its examples as code."""
    text = ast.get_docstring(tree) or ""
    summary, _, rest = text.partition("\n\n")
    return " ".join(summary.split()), f"```text\n{rest}\n```" if rest.strip() else ""


def _options(tree: ast.AST) -> str:
    """A table of the arguments that the code adds to a parser, in their order, each below the command that takes it."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    constants = {
        node.targets[0].id: node.value
        for node in ast.iter_child_nodes(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    lines = []
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        function = ast.unparse(call.func).rsplit(".", 1)[-1]
        if function == "add_argument":
            lines.append(_argument(call, constants))
        elif function in ("add_parser", "add_command"):
            names = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
            about = _text(next((word.value for word in call.keywords if word.arg == "help"), call.args[-1]))
            lines += [f"| **`{names[0]}`** | {_cell(about if about != names[0] else '')} |"] if names else []
    return "\n".join(["| argument | means |", "| --- | --- |", *lines]) if lines else ""


def _argument(call: ast.Call, constants: dict[str, ast.expr]) -> str:
    """A line of the table; ``constants`` are those of the module."""
    names = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    about = keywords.get("help")
    about = _text(constants.get(about.id) if isinstance(about, ast.Name) else about)
    choices, default = keywords.get("choices"), keywords.get("default")
    if isinstance(choices, ast.List | ast.Tuple) and all(isinstance(choice, ast.Constant) for choice in choices.elts):
        about += f" ({', '.join(str(choice.value) for choice in choices.elts)})"
    if isinstance(default, ast.Constant) and default.value not in (None, "", False):
        about += f" [{default.value}]"
    return f"| `{', '.join(names)}` | {_cell(about.strip())} |"


def _text(node: ast.expr | None) -> str:
    """A text of the source; what it computes is shown as ``...``."""
    match node:
        case ast.Constant(value=str(text)):
            return text.replace("%(default)s", "...").replace("%%", "%")
        case ast.JoinedStr(values=values):
            return "".join(_text(value) if isinstance(value, ast.Constant) else "..." for value in values)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
    return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
