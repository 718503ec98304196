from types import SimpleNamespace

import pytest
import torch

from lira_plugin.hooks import ReadableCheckpointHook


def look_at(path, resume=False, work_dir=None):
    ReadableCheckpointHook().before_run(SimpleNamespace(_load_from=path, _resume=resume, work_dir=work_dir))


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "iter_5.pth"
    torch.save({"state_dict": {"weight": torch.zeros(50, 50)}}, path)
    return path


def test_whole_files_pass(checkpoint):
    look_at(checkpoint)
    look_at(str(checkpoint))
    torch.save({}, checkpoint, _use_new_zipfile_serialization=False)
    look_at(checkpoint)


@pytest.mark.parametrize("elsewhere", [None, "https://example.org/a.pth", "missing.pth", "."])
def test_what_is_no_file_is_left_to_mmengine(elsewhere):
    look_at(elsewhere)


@pytest.mark.parametrize("kept", [100, -1])
def test_a_file_that_was_cut_off_is_named(checkpoint, kept):
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"iter_5\.pth was cut off: .* again"):
        look_at(checkpoint)


def test_what_is_resumed_is_looked_at_too(checkpoint):
    work_dir = checkpoint.parent
    look_at(None, True, work_dir)
    (work_dir / "last_checkpoint").write_text(str(checkpoint))
    checkpoint.write_bytes(b"")
    with pytest.raises(ValueError, match=r"iter_5\.pth is no checkpoint"):
        look_at(None, True, work_dir)
    look_at(None, False, work_dir)


@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>"])
def test_another_file_is_named(checkpoint, content):
    checkpoint.write_bytes(content)
    with pytest.raises(ValueError, match=r"iter_5\.pth is no checkpoint"):
        look_at(checkpoint)
