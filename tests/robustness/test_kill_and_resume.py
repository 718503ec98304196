"""A training that is killed anywhere goes on as if it had not been, and a full disk spoils no checkpoint."""

import os
import random
import resource
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from support.processes import start
from support.training_runs import train

from lira_plugin.hooks import CompleteCheckpointHook, SeedEachIterHook, WorkDirLockHook
from lira_plugin.hooks import checkpoint as checkpoint_hook

pytestmark = pytest.mark.slow
ITERS, INTERVAL = 24, 4
SETTINGS = {"type": CompleteCheckpointHook, "interval": INTERVAL, "max_keep_ckpts": 1}
"""With one checkpoint kept, nothing else is left where that one is spoilt."""


def kill_myself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class KillAt(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration:
            kill_myself()


def kill_while(what: str, iteration: int) -> None:
    """Kill this process in the middle of writing the checkpoint of an iteration, or just before or after it gets its name."""
    save, place = Runner.save_checkpoint, checkpoint_hook.put_in_place

    def half(runner, folder, name, **settings):
        save(runner, folder, name, **settings)
        if runner.iter + 1 == iteration:
            path = Path(folder, name)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            kill_myself()

    def placed(unfinished, path):
        if path.name == f"iter_{iteration}.pth":
            if what == "placed":
                place(unfinished, path)
            kill_myself()
        place(unfinished, path)

    if what == "half written":
        Runner.save_checkpoint = half
    else:
        checkpoint_hook.put_in_place = placed


def train_until(folder: Path, what: str | None = None, iteration: int = 0) -> None:
    """Go on in ``folder``; be killed where that is said."""
    hooks = [SeedEachIterHook, WorkDirLockHook]
    if what == "training":
        hooks.append(KillAt(iteration))
    elif what is not None:
        kill_while(what, iteration)
    train(folder, ITERS, checkpoint=SETTINGS, hooks=hooks, resume=True)


def run(*arguments) -> int:
    process = start(train_until, *arguments)
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def weights(folder: Path) -> dict:
    return torch.load(folder / f"iter_{ITERS}.pth", weights_only=False)["state_dict"]


@pytest.mark.parametrize("seed", [0, 1])
def test_five_kills_change_nothing(tmp_path, seed):
    draw = random.Random(seed)
    assert run(tmp_path / "whole") == 0
    ends = sorted(draw.sample(range(INTERVAL + 1, ITERS), 2))
    kills = [("training", ends[0]), ("training", ends[1])]
    places = draw.sample(range(2 * INTERVAL, ITERS, INTERVAL), 3)
    kills += list(zip(["half written", "written", "placed"], places))
    for what, iteration in sorted(kills, key=lambda kill: kill[1]):
        assert run(tmp_path / "killed", what, iteration) == -signal.SIGKILL, f"not killed: {what} at {iteration}"
    assert run(tmp_path / "killed") == 0
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    assert sorted(path.name for path in (tmp_path / "killed").glob("*.part")) == []


def test_killed_before_its_first_checkpoint_it_begins_anew(tmp_path):
    assert run(tmp_path / "whole") == 0
    assert run(tmp_path / "killed", "half written", INTERVAL) == -signal.SIGKILL
    assert run(tmp_path / "killed") == 0
    assert all(torch.equal(weights(tmp_path / "whole")[n], w) for n, w in weights(tmp_path / "killed").items())


class FullDisk(Hook):
    """From an iteration on no file may hold more than a kilobyte."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == INTERVAL:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def train_on_a_full_disk(folder: Path) -> None:
    try:
        train(folder, ITERS, checkpoint=SETTINGS, hooks=(SeedEachIterHook, FullDisk))
    except OSError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        (folder / "error").write_text(str(error))


def test_a_full_disk_leaves_the_last_checkpoint_and_names_the_new_one(tmp_path):
    process = start(train_on_a_full_disk, tmp_path)
    process.join(120)
    assert f"iter_{2 * INTERVAL}.pth could not be written: File too large" in (tmp_path / "error").read_text()
    assert sorted(path.name for path in tmp_path.glob("iter*")) == [f"iter_{INTERVAL}.pth"]
    assert run(tmp_path) == 0, "once there is room it goes on"
