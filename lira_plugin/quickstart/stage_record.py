"""What a stage was made from: the record that tells whether its checkpoints may be used again."""

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lira_plugin.written_aside import write_json


@dataclass(frozen=True)
class StageRecord:
    """What ``stage.json`` in the folder of a stage says of its checkpoints.

    Args:
        made_from: all that determines them, see :meth:`Quickstart.made_from`.
        started: when the process that trains it was started, in seconds since the epoch.
        seconds: of all processes before that one, imports included; once it is finished, of all processes. What was lost
            behind the last checkpoint of an interrupted one does not count.
        iters: iterations of the finished stage, None before.
        checkpoint: digest of the last checkpoint of the finished stage, empty before.
        peak_rss_mb: highest resident memory of the process that finished it, in MiB.
    """

    made_from: dict[str, Any]
    started: float = 0.0
    seconds: float = 0.0
    iters: int | None = None
    checkpoint: str = ""
    peak_rss_mb: int = 0

    @classmethod
    def read(cls, folder: Path) -> "StageRecord":
        """The record in ``folder``; an empty one where there is none."""
        path = folder / "stage.json"
        return cls(**json.loads(path.read_text())) if path.is_file() else cls({})

    def differences(self, made_from: Mapping[str, Any], checkpoint: Path) -> str:
        """How what is asked for differs from what is there, whose last checkpoint is ``checkpoint``, in words; empty if not."""
        there, asked = _flat(self.made_from), _flat(made_from)
        if not there:
            return "nothing says how they were made"
        changes = [
            f"{name} {there.get(name)!r} there and {asked.get(name)!r} asked"
            for name in sorted(there.keys() | asked.keys())
            if there.get(name) != asked.get(name)
        ]
        if self.checkpoint and digest(checkpoint.read_bytes()) != self.checkpoint:
            changes.append(f"{checkpoint.name} is not the checkpoint that the stage ended with")
        return ", ".join(changes)

    def write(self, folder: Path) -> None:
        """Write it to ``folder``."""
        write_json(folder / "stage.json", asdict(self), indent=1)


def digest_config(config: Path) -> dict[str, str]:
    """A digest of the code of a config and of each file that it reads, by name of the file."""
    return {path.name: digest(_code(path)) for path in _with_bases(config)}


def _with_bases(config: Path) -> list[Path]:
    """A config and the files that it reads with ``from .name import ...``, each once."""
    found, waiting = [], [config]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.append(path)
            waiting += [
                path.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom) and node.level
            ]
    return sorted(found)


def _code(path: Path) -> bytes:
    """A Python file without its comments and layout."""
    return ast.dump(ast.parse(path.read_text())).encode()


def digest(data: bytes) -> str:
    """A short fingerprint of bytes."""
    return hashlib.sha256(data).hexdigest()[:12]


def _flat(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Without nesting: ``{"scenes": {"seed": 0}}`` becomes ``{"scenes seed": 0}``."""
    flat: dict[str, Any] = {}
    for name, value in made_from.items():
        flat |= {f"{name} {key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
    return flat
