"""The checkpoint that a path or a work dir stands for."""

import logging
import zipfile
from pathlib import Path

from mmengine.logging import print_log

from lira_plugin.checkpoint.deepspeed import is_zero_checkpoint

RECORD = "last_checkpoint"
"""The file of a work dir that names its last checkpoint."""


def find_checkpoint(path: str | Path, made_by: str | None = None) -> Path:
    """The checkpoint at ``path``, or the last one of the MMEngine work dir at ``path``; DeepSpeed's are folders.

    Raises:
        FileNotFoundError: there is none; the message has the command that makes it, where ``made_by`` tells.
    """
    path = Path(path)
    found = path if path.is_file() or is_zero_checkpoint(path) else latest_checkpoint(path)
    if found is None:
        way_out = f"; make it with:\n    {made_by}" if made_by else ""
        named = f" (its last_checkpoint names {name!r})" if (name := _recorded(path)) else ""
        raise FileNotFoundError(f"no checkpoint at {path}{named} (docs/troubleshooting.md#no-checkpoint){way_out}")
    return found


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, or the newest one that can be read, which is then logged; else None."""
    work_dir = Path(work_dir)
    record = work_dir / RECORD
    name = _recorded(work_dir)
    last = Path(name)
    # A folder that was copied or moved names a file of the old one.
    named = [path for path in (work_dir / last.name, last) if name and is_complete(path)]
    if named:
        return named[0]
    others = [path for kind in ("iter_*.pth", "epoch_*.pth") for path in work_dir.glob(kind) if is_complete(path)]
    newest = max(others, key=lambda path: path.stat().st_mtime, default=None)
    if newest is not None:
        print_log(
            f"{record} names {name or 'no file'!r}, which is not there or incomplete; the newest complete checkpoint is taken "
            f"instead: {newest}",
            logger="current",
            level=logging.WARNING,
        )
    return newest


def _recorded(work_dir: Path) -> str:
    """What ``last_checkpoint`` names; empty where there is none."""
    record = work_dir / RECORD
    return record.read_text().strip() if record.is_file() else ""


def is_complete(path: Path) -> bool:
    """Whether a checkpoint was written to its end, as far as that can be told without reading its tensors."""
    if not path.is_file():
        return is_zero_checkpoint(path)
    with path.open("rb") as file:
        start = file.read(2)
    return zipfile.is_zipfile(path) if start == b"PK" else bool(start)
