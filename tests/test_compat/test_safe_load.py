"""Loading without running code, where the caller asks for all objects."""

import os
from pickle import UnpicklingError

import pytest
import torch
from mmengine.logging import HistoryBuffer

from lira_plugin.compat.safe_load import MMENGINE_DATA, also_safe, plain_data_only

VARIABLE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@pytest.fixture(autouse=True)
def nothing_allowed():
    """Recipes that other tests read allow these types in the whole process."""
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


class Code:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize("before", [None, "0"])
def test_code_is_refused_inside_and_the_environment_is_as_before(tmp_path, monkeypatch, before):
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    path = tmp_path / "code.pt"
    torch.save({"weight": torch.ones(2), "code": Code()}, path)
    assert torch.serialization.load(path, weights_only=False)["code"] == os.getcwd()
    with plain_data_only(), pytest.raises(UnpicklingError):
        torch.serialization.load(path, weights_only=False)
    assert os.environ.get(VARIABLE) == before


def test_the_loss_history_of_mmengine_is_plain_data(tmp_path):
    history = HistoryBuffer()
    history.update(0.5)
    torch.save({"loss": history}, tmp_path / "history.pth")
    with pytest.raises(UnpicklingError):
        torch.serialization.load(tmp_path / "history.pth", weights_only=True)
    with also_safe(MMENGINE_DATA):
        loaded = torch.serialization.load(tmp_path / "history.pth", weights_only=True)["loss"]
    assert loaded.current() == 0.5 and loaded.mean() == 0.5
    assert torch.serialization.get_safe_globals() == [], "as before"


def test_what_was_allowed_before_stays_allowed():
    torch.serialization.add_safe_globals([HistoryBuffer])
    with also_safe(MMENGINE_DATA):
        assert len(torch.serialization.get_safe_globals()) > 1
    assert torch.serialization.get_safe_globals() == [HistoryBuffer]
