"""The command ``lira``: recipes by name, training and testing by xtuner, and the tools, from any folder.

lira recipes                         the recipes, and what each is
lira recipes --path lira_2b          where one is, for other commands
lira recipes --inherit lira_2b own.py  write a recipe of yours that begins as this one
lira train lira_tiny ...             `xtuner train` with a recipe by name or path
lira test lira_tiny ...              `xtuner test`
lira infer ...                       a tool; `lira infer --help` says more
lira --completion bash               for ~/.bashrc: eval "$(lira --completion bash)"; or zsh

An error that files or settings bring about is one line, and the exit code is 2. With `--debug`, or LIRA_DEBUG=1, any command
shows the traceback too.
"""

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from lira_plugin.command_end import run_command
from lira_plugin.recipes import description, find_recipe_file, recipes
from lira_plugin.shell_completion import completion

PACKAGE = Path(__file__).parent
BY_XTUNER = ("train", "test")
_OWN_RECIPE = '''"""A recipe of your own; what you set below replaces what it inherits."""

from mmengine.config import read_base

with read_base():
    from {module} import *

work_dir = "work_dirs/{name}"
'''


def tools() -> dict[str, Path]:
    """Each tool by the name of its command, such as ``check-data``: in a wheel a copy, in a checkout the source file."""
    folders = [PACKAGE / ".mim" / "tools", PACKAGE.parent / "tools"]
    folder = next((folder for folder in folders if folder.is_dir()), folders[-1])
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.py"))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Raises:
        SystemExit: the arguments are wrong, or the tool has ended.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.argv = [f"lira {name}" if name in _commands() else "lira", *rest]
    if name in ("-h", "--help"):
        run_command(_help)
    elif name == "--completion":
        run_command(_completion)
    elif name == "recipes":
        run_command(_recipes)
    elif name in BY_XTUNER:
        run_command(partial(_xtuner, name))
    else:
        run_command(partial(_tool, name))


def _commands() -> list[str]:
    return ["recipes", *BY_XTUNER, *tools()]


def _help() -> None:
    lines = [f"    lira {tool:<20} {_summary(path)}" for tool, path in tools().items()]
    print("\n".join([__doc__ or "", "Tools:", "", *lines]))


def _tool(name: str) -> int | None:
    if name not in tools():
        near = get_close_matches(name, _commands(), n=1)
        meant = f"is {near[0]!r} meant? " if near else ""
        raise ValueError(f"there is no command {name!r}; {meant}`lira --help` lists all")
    return _load(tools()[name]).main()


def _recipes() -> None:
    parser = argparse.ArgumentParser("lira recipes", description="List the recipes, or begin one of your own.")
    parser.add_argument("pattern", nargs="?", default="", help="show only names that hold this")
    parser.add_argument("--path", metavar="NAME", help="print the path of one")
    parser.add_argument("--inherit", nargs=2, metavar=("NAME", "FILE"), help="write a recipe that inherits from one")
    args = parser.parse_args()
    if args.path:
        print(find_recipe_file(args.path))
    elif args.inherit:
        name, file = args.inherit
        if Path(name).stem not in recipes():
            parser.error(
                f"--inherit begins with a recipe of this package, and {name!r} is none; `lira recipes` lists them"
            )
        path = recipes()[Path(name).stem]
        module = ".".join(path.with_suffix("").relative_to(PACKAGE).parts)
        with Path(file).open("x", encoding="utf-8") as own:
            own.write(_OWN_RECIPE.format(module=f"lira_plugin.{module}", name=Path(file).stem))
        print(f"{file}: train it with\n    lira train {file}")
    else:
        for name, path in recipes().items():
            if args.pattern in name:
                print(f"{name:<28} {description(path)}")


def _completion() -> None:
    (package,) = find_spec("xtuner").submodule_search_locations
    xtuners = {name: Path(package, "tools", f"{name}.py") for name in BY_XTUNER}
    print(completion(" ".join(sys.argv[1:]), {"recipes": Path(__file__), **xtuners, **tools()}, recipes()), end="")


def _xtuner(tool: str) -> None:
    """Run a tool of xtuner in this process, with the path of the recipe in place of its name."""
    first, *rest = sys.argv[1:] or ["--help"]
    recipe = first if first.startswith("-") else str(find_recipe_file(first))
    import lira_plugin.compat.installed_path  # noqa: F401  for recipes that inherit from this package

    sys.argv = [sys.argv[0], recipe, *(_with_checkpoint(rest) if tool == "test" else rest)]
    importlib.import_module(f"xtuner.tools.{tool}").main()


def _with_checkpoint(arguments: list[str]) -> list[str]:
    """The arguments with the checkpoint that a work dir stands for: xtuner takes any folder for one of DeepSpeed's.

    Raises:
        FileNotFoundError: there is no checkpoint.
    """
    parser = argparse.ArgumentParser(sys.argv[0], add_help=False, allow_abbrev=False)
    parser.add_argument("--checkpoint")
    given, others = parser.parse_known_args(arguments)
    if given.checkpoint is None:
        return arguments
    from lira_plugin.checkpoint.latest import find_checkpoint  # torch takes seconds to import

    return [*others, "--checkpoint", str(find_checkpoint(given.checkpoint))]


def _load(file: Path) -> ModuleType:
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _summary(path: Path) -> str:
    """The first sentence of a tool's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""
