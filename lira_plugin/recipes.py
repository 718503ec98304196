"""The recipes that this package brings, by name: in a checkout those of ``configs``, and in a wheel their copies."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config

CONFIGS = Path(__file__).parent / "configs"


def recipes() -> dict[str, Path]:
    """The path of each recipe by its name, such as ``lira_2b``; what recipes inherit from is left out."""
    files = sorted(path for path in CONFIGS.rglob("*.py") if "_base_" not in path.relative_to(CONFIGS).parts)
    return {path.stem: path for path in files}


def find_recipe_file(recipe: str | Path) -> Path:
    """The path of a recipe: its own, or that of the recipe of this name.

    Raises:
        FileNotFoundError: there is neither; the message has the names that are near.
    """
    path, known = Path(recipe), recipes()
    if path.is_file():
        return path
    if str(recipe) in known:
        return known[str(recipe)]
    near = get_close_matches(path.stem, known, n=3)
    meant = f"near are {', '.join(near)}; " if near else ""
    raise FileNotFoundError(
        f"there is no recipe at {recipe}, nor one of this name; {meant}the command `lira recipes` lists all "
        "(docs/troubleshooting.md#there-is-no-recipe)"
    )


def read_recipe(recipe: str | Path) -> Config:
    """Read a recipe by its path or name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no recipe; running it ends with an error.
    """
    path = find_recipe_file(recipe)
    # Only now, for it takes seconds to import, and names and paths of recipes do without.
    from mmengine.config import Config

    import lira_plugin.compat.installed_path  # noqa: F401  for recipes that inherit from this package

    try:
        return Config.fromfile(path)
    except OSError:
        raise
    except Exception as error:  # a recipe is a program, and can end with any
        raise ValueError(f"the recipe {path} cannot be read: {type(error).__name__}: {error}") from error


def description(path: Path) -> str:
    """The first line of a recipe's docstring."""
    return path.read_text(encoding="utf-8").split('"""', 2)[1].strip().splitlines()[0]
