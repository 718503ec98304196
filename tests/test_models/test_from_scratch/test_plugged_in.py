"""What only a model from nothing needs is named by recipes, not by the core."""

from pathlib import Path

import lira_plugin
from lira_plugin import models

ROOT = Path(lira_plugin.__file__).parent
FOLDER = "from_scratch"


def test_the_core_names_nothing_of_it():
    """The index of the models, which says what recipes can import, lists it all the same."""
    index = ROOT / "models" / "__init__.py"
    core = [
        path for path in ROOT.rglob("*.py") if FOLDER not in path.parts and ".mim" not in path.parts and path != index
    ]
    names = [name for name in models.__all__ if FOLDER in getattr(models, name).__module__]
    assert {"PromptedSegmenter", "QueryLoss", "AttributeClassifier", "AnchorCost"} <= set(names)
    for path in core:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in (FOLDER, *names) if word in text], path
