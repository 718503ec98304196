"""Run docs/tour.ipynb on the model of a quickstart, and keep what it shows: ``uv run python docs/site_hooks/store_tour.py``.

``LIRA_TINY_ROOT`` names the work dir if it is not work_dirs/tiny. Pictures are stored as JPEG, so that the file stays small. Logs
and what goes to the error stream are left out.
"""

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "tour.ipynb"
_LOGGED = re.compile(r"^(?:\[[\d-]+ [\d:,]+\] \[|\d\d/\d\d [\d:]+ - mmengine - ).*\n?", re.MULTILINE)
"""Lines of the logs of DeepSpeed and MMEngine."""
_PICTURES = ("image/png", "image/jpeg", "text/html")


def run_notebook(path: Path) -> Any:
    """Run a notebook in its folder; it is returned with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    notebook = nbformat.read(path, as_version=4)
    return NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(path.parent)}}).execute()


def store(notebook: Any, path: Path) -> None:
    """Write a notebook that has run, with small pictures."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            outputs = [_small(output) for output in cell.outputs if output.get("name") != "stderr"]
            cell.outputs = [output for output in outputs if output.get("text", "shown").strip()]
    text = nbformat.writes(notebook)
    root = os.environ.get("LIRA_TINY_ROOT")
    path.write_text((text.replace(root, "work_dirs/tiny") if root else text) + "\n", encoding="utf-8")


def _small(output: Any) -> Any:
    """An output whose picture is a JPEG, with no HTML beside it, in which there would be a second copy."""
    if "image/png" in output.get("data", {}):
        with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "JPEG", quality=88)
        for kind in _PICTURES:
            output.data.pop(kind, None)
        output.data["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode("ascii")
    elif "text" in output:
        output.text = _LOGGED.sub("", re.sub(r"\x1b\[[0-9;]*m", "", output.text))
    return output


if __name__ == "__main__":
    store(run_notebook(NOTEBOOK), NOTEBOOK)
