"""Which checkpoint a work dir stands for where its record is wrong."""

import os

import pytest
import torch

from lira_plugin.checkpoint import latest
from lira_plugin.checkpoint.latest import find_checkpoint, latest_checkpoint


@pytest.fixture
def work_dir(tmp_path, monkeypatch):
    """Three checkpoints of a training; the newest is cut off in the middle."""
    for iteration in (10, 20, 30):
        path = tmp_path / f"iter_{iteration}.pth"
        torch.save({"weight": torch.zeros(1000)}, path)
        os.utime(path, (iteration, iteration))
    path.write_bytes(path.read_bytes()[:2000])
    os.utime(path, (30, 30))
    warnings = []
    monkeypatch.setattr(latest, "print_log", lambda text, **kwargs: warnings.append(text))
    return tmp_path, warnings


@pytest.mark.parametrize("record", [None, "", "\n", "/gone/iter_40.pth", "iter_30.pth"])
def test_the_newest_complete_one_is_taken_and_said(work_dir, record):
    folder, warnings = work_dir
    if record is not None:
        (folder / "last_checkpoint").write_text(record)
    assert find_checkpoint(folder) == latest_checkpoint(folder) == folder / "iter_20.pth"
    assert "iter_20.pth" in warnings[0] and repr((record or "").strip() or "no file") in warnings[0]


def test_a_sound_record_is_followed_without_a_word(work_dir):
    folder, warnings = work_dir
    (folder / "last_checkpoint").write_text(str(folder / "iter_10.pth"))
    assert find_checkpoint(folder) == folder / "iter_10.pth" and not warnings


def test_a_folder_without_any_has_none(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / "iter_1.pth").touch()
    (tmp_path / "best.pth").write_bytes(b"weights")
    assert latest_checkpoint(tmp_path) is None
