"""The ways by which MMEngine, xtuner and DeepSpeed read checkpoints run no code."""

import importlib
import io
import pickle
import tarfile
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import _load_checkpoint
from support.paths import config_path
from torch import nn

from lira_plugin.checkpoint.files import read_state_dict, read_tensor
from lira_plugin.compat import plain_checkpoints
from lira_plugin.compat.safe_load import MMENGINE_DATA, also_safe, refuse_programs


class Code:
    """Makes the file that it is told when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module", autouse=True)
def _recipe():
    """Reading any recipe is what makes loading safe."""
    Config.fromfile(config_path("lira_tiny_segmenter"))


def xtuner_test(path):
    from xtuner.model.utils import guess_load_checkpoint

    return guess_load_checkpoint(str(path))


def xtuner_resume(path):
    from xtuner.tools.utils import get_seed_from_checkpoint

    return get_seed_from_checkpoint(str(path))


def deepspeed_resume(path):
    from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

    return TorchCheckpointEngine().load(str(path), map_location="cpu")


READERS = [
    xtuner_test,
    xtuner_resume,
    deepspeed_resume,
    lambda path: _load_checkpoint(str(path), map_location="cpu"),
    lambda path: torch.load(path, weights_only=False),
    lambda path: torch.load(io.BytesIO(Path(path).read_bytes()), weights_only=False),
]
NAMES = ["xtuner test", "xtuner train --resume", "deepspeed", "load_from", "torch.load", "torch.load of a file object"]


@pytest.mark.parametrize("read", READERS, ids=NAMES)
def test_code_is_refused_with_the_way_out(tmp_path, read):
    path, marker = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "meta": {"seed": 3, "x": Code(marker)}}, path)
    with pytest.raises(UnpicklingError, match="run code of its author.*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"):
        read(path)
    assert not marker.exists()


@pytest.mark.parametrize("read", READERS, ids=NAMES)
def test_what_mmengine_keeps_is_read(tmp_path, read):
    history = HistoryBuffer()
    for value in (0.5, 1.5):
        history.update(value)
    content = {
        "state_dict": {"w": torch.zeros(1)},
        "meta": {"seed": 3},
        "message_hub": {"log_scalars": {"loss": history}},
    }
    content |= {
        "rng": {"state": np.arange(3), "last": np.float64(0.25)},
        "chosen": {1, 2},
        "ds_config": ConfigDict(a={"b": 1}),
    }
    torch.save(content, tmp_path / "iter_1.pth")
    found = read(tmp_path / "iter_1.pth")
    assert found == 3 or list(found) == ["w"] or found["message_hub"]["log_scalars"]["loss"].mean() == 1.0


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_arrays_of_either_numpy_are_read(tmp_path, core):
    """NumPy 2 writes the second name, and each reads the files of the other."""
    array = {"a": np.arange(3.0), "b": np.float64(0.5)}
    written = b"numpy.core" if b"numpy.core" in pickle.dumps(array) else b"numpy._core"
    buffer = io.BytesIO()
    torch.save(array, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue().replace(written, core.encode()))
    with also_safe(MMENGINE_DATA):
        found = torch.load(tmp_path / "a.pth", weights_only=True)
    assert found["a"].tolist() == [0, 1, 2] and found["b"] == 0.5


def program(path):
    """A TorchScript archive, which old versions of torch run even where weights alone are asked for."""
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


@pytest.mark.parametrize("write", [program, tar])
def test_programs_and_tar_files_are_refused_before_torch_sees_them(tmp_path, write, monkeypatch):
    path = tmp_path / "evil.pth"
    write(path)
    for read in (read_state_dict, read_tensor):
        with pytest.raises(ValueError, match=r"evil\.pth holds more than tensors.*(TorchScript archive|tar file)"):
            read(path)
    for read in READERS:
        with pytest.raises(UnpicklingError, match="TorchScript archive|tar file"):
            read(path)
    folder = tmp_path / "iter_2.pth"
    folder.mkdir()
    path.rename(folder / "mp_rank_00_model_states.pt")
    with pytest.raises(ValueError, match="TorchScript archive|tar file"):
        read_state_dict(folder)


def test_a_file_that_is_open_stays_where_it_is(tmp_path):
    torch.save(torch.ones(2), tmp_path / "a.pth")
    with (tmp_path / "a.pth").open("rb") as file:
        refuse_programs(file)
        assert file.tell() == 0 and torch.equal(torch.load(file, weights_only=True), torch.ones(2))


def test_who_trusts_a_file_says_so(monkeypatch):
    monkeypatch.setattr(torch, "load", torch.serialization.load)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    importlib.reload(plain_checkpoints)
    assert torch.load is torch.serialization.load
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    importlib.reload(plain_checkpoints)
    assert torch.load is plain_checkpoints.load
