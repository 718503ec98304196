"""Checkpoints are written aside, and old ones go only when a new one is there."""

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from support.training_runs import train

from lira_plugin.hooks import CompleteCheckpointHook

pytestmark = pytest.mark.slow


def listing(folder):
    return sorted(
        path.name for path in folder.iterdir() if path.suffix in (".pth", ".part") or path.name == "last_checkpoint"
    )


def content(path):
    return torch.load(path, weights_only=False)


def test_what_is_kept_is_what_mmengine_keeps(tmp_path):
    for kind in (CheckpointHook, CompleteCheckpointHook):
        train(
            tmp_path / kind.__name__,
            12,
            checkpoint={"type": kind, "interval": 2, "max_keep_ckpts": 2, "save_last": True},
        )
    theirs, ours = tmp_path / "CheckpointHook", tmp_path / "CompleteCheckpointHook"
    assert listing(ours) == listing(theirs) == ["iter_10.pth", "iter_12.pth", "last_checkpoint"]
    assert (ours / "last_checkpoint").read_text() == str(ours / "iter_12.pth")
    for name in ("iter_10.pth", "iter_12.pth"):
        first, second = content(theirs / name), content(ours / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first["state_dict"][key], second["state_dict"][key]) for key in first["state_dict"])
        kept = [content(folder / name)["message_hub"]["runtime_info"]["keep_ckpt_ids"] for folder in (theirs, ours)]
        assert kept[0] == kept[1]


def test_the_old_one_is_there_until_the_new_one_is_complete(tmp_path, monkeypatch):
    """MMEngine removes it first: with max_keep_ckpts=1 a kill while it writes would leave nothing."""
    seen, save = [], Runner.save_checkpoint

    def watched(runner, *arguments, **settings):
        seen.append(listing(tmp_path))
        save(runner, *arguments, **settings)

    monkeypatch.setattr(Runner, "save_checkpoint", watched)
    train(tmp_path, 9, checkpoint={"type": CompleteCheckpointHook, "interval": 3, "max_keep_ckpts": 1})
    assert seen == [[], ["iter_3.pth", "last_checkpoint"], ["iter_6.pth", "last_checkpoint"]]
    assert listing(tmp_path) == ["iter_9.pth", "last_checkpoint"]


class Spoil(Hook):
    """Makes what is about to be saved impossible to save."""

    def before_save_checkpoint(self, runner, checkpoint):
        if runner.iter == 5:
            raise OSError(28, "No space left on device")


def test_an_error_names_the_file_and_leaves_the_old_one(tmp_path):
    settings = {"type": CompleteCheckpointHook, "interval": 3, "max_keep_ckpts": 1}
    with pytest.raises(OSError, match=r"iter_6\.pth could not be written: No space left"):
        train(tmp_path, 9, checkpoint=settings, hooks=(Spoil,))
    assert listing(tmp_path) == ["iter_3.pth", "last_checkpoint"]
    assert content(tmp_path / "iter_3.pth")["meta"]["iter"] == 3
