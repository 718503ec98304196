"""The command ``lira``: recipes by name, training and testing by xtuner, and the tools, from any folder.

lira recipes                         the recipes, and what each is
lira recipes --path lira_2b          where one is, for other commands
lira recipes --inherit lira_2b own.py  write a recipe of yours that begins as this one
lira train lira_tiny ...             `xtuner train` with a recipe by name or path
lira test lira_tiny ...              `xtuner test`
lira infer ...                       a tool; `lira infer --help` says more
"""

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

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
    if name == "recipes":
        _recipes(rest)
    elif name in BY_XTUNER:
        _xtuner(name, rest)
    elif name in tools():
        sys.argv = [f"lira {name}", *rest]
        sys.exit(_load(tools()[name]).main())
    else:
        lines = [f"    lira {tool:<20} {_summary(path)}" for tool, path in tools().items()]
        said = "\n".join([__doc__ or "", "Tools:", "", *lines])
        if name in ("-h", "--help"):
            print(said)
        else:
            sys.exit(f"lira has no command {name!r}\n\n{said}")


def _recipes(arguments: Sequence[str]) -> None:
    from lira_plugin.recipes import description, find_recipe_file, recipes  # MMEngine takes seconds to import

    parser = argparse.ArgumentParser("lira recipes", description="List the recipes, or begin one of your own.")
    parser.add_argument("pattern", nargs="?", default="", help="show only names that hold this")
    parser.add_argument("--path", metavar="NAME", help="print the path of one")
    parser.add_argument("--inherit", nargs=2, metavar=("NAME", "FILE"), help="write a recipe that inherits from one")
    args = parser.parse_args(arguments)
    try:
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
    except (FileNotFoundError, FileExistsError) as error:
        parser.error(str(error))


def _xtuner(tool: str, arguments: Sequence[str]) -> None:
    """Run a tool of xtuner in this process, with the path of the recipe in place of its name."""
    from lira_plugin.recipes import find_recipe_file

    first, *rest = arguments or ["--help"]
    try:
        recipe = first if first.startswith("-") else str(find_recipe_file(first))
    except FileNotFoundError as error:
        sys.exit(f"lira {tool}: {error}")
    sys.argv = [f"lira {tool}", recipe, *rest]
    importlib.import_module(f"xtuner.tools.{tool}").main()


def _load(file: Path) -> ModuleType:
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _summary(path: Path) -> str:
    """The first sentence of a tool's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""
