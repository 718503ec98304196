"""What a number depends on beside the model: how answers were scored, on which data, and the hashes of its files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lira_plugin.evaluation.prediction_files import file_hash


def with_hashes(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The protocol of each data set, in which ``files``, a list of paths, becomes ``{path: hash}``.

    A folder among them has the hash of the names and hashes of the files directly in it.
    """
    known: dict[str, str] = {}
    described = {}
    for source, settings in data.items():
        files = [str(path) for path in settings.get("files", ())]
        for path in files:
            if path not in known:
                known[path] = _folder_hash(Path(path)) if Path(path).is_dir() else file_hash(path)
        described[source] = {**settings, "files": {path: known[path] for path in files}}
    return described


def _folder_hash(folder: Path) -> str:
    lines = [f"{path.name} {file_hash(path)}" for path in sorted(folder.iterdir()) if path.is_file()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
