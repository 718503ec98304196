"""Where things are in a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
RECIPES = sorted([*CONFIGS.glob("*/*.py"), *CONFIGS.glob("*/eval/*.py"), *ROOT.glob("projects/*/configs/*.py")])
"""Every config that a user starts, without those of ``_base_``."""


def config_path(name: str) -> Path:
    """The config of a recipe by its name, such as ``lira_2b``, whatever folder it is in."""
    (path,) = [path for path in RECIPES if path.stem == name]
    return path
