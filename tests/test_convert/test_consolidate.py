"""Checkpoints that DeepSpeed itself writes, on one process and on two, as one file with the weights of the live model."""

import os
import shutil

import pytest
import torch
from mmengine.logging import MessageHub
from safetensors.torch import load_file
from support.processes import deepspeed_engine, on_two_processes
from support.tiny_model import make_batch, refer_record, tiny_lira, tiny_llama
from torch import nn

from lira_plugin.checkpoint.files import load_into, read_state_dict
from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.convert import consolidate_zero
from lira_plugin.inference import find_recipe
from lira_plugin.models import InterleavedLLM

pytestmark = pytest.mark.slow


class Trained(nn.Module):
    """Something frozen, something shared, a buffer, and sizes that two processes cannot share evenly."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(3, 5).requires_grad_(False)
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x):
        return self.norm(self.second(self.first(self.frozen(x))))


def trained_state(model):
    """What the consolidated file is to hold."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith("frozen")}


def adam(parameters):
    return torch.optim.AdamW(parameters, lr=0.1)


def save(engine, folder, live):
    """As MMEngine's DeepSpeedStrategy does, with the settings that xtuner gives it; and the live weights beside."""
    hub = MessageHub.get_instance("zero")
    hub.update_scalar("train/loss", 0.5)
    state = {"meta": {"iter": 2}, "message_hub": hub.state_dict()}
    engine.save_checkpoint(
        str(folder), tag="iter_2.pth", client_state=state, save_latest=False, exclude_frozen_parameters=True
    )
    torch.save(live, folder / f"live_{engine.global_rank}.pth")


def train(rank, folder, stage, dtype):
    """Train two steps and save."""
    from deepspeed.utils import safe_get_full_fp32_param

    torch.manual_seed(0)
    engine = deepspeed_engine(Trained(), rank, stage, adam, bf16=dtype == torch.bfloat16)
    for _ in range(2):
        loss = engine(torch.randn(4, 3, dtype=dtype)).float().square().sum()
        engine.backward(loss)
        engine.step()
    full = {name: safe_get_full_fp32_param(p) for name, p in engine.module.named_parameters() if p.requires_grad}
    buffers = {name: value.float() for name, value in engine.module.named_buffers()}
    save(engine, folder, {**full, "second.weight": full["first.weight"], **buffers})


def lora_lira():
    lora = {"r": 2, "target_modules": ["q_proj", "k_proj", "lm_head"], "shared_inputs": ["q_proj", "k_proj"]}
    llm = {"type": InterleavedLLM, "llm": tiny_llama(), "lora": {**lora, "train_embeddings": True}}
    return tiny_lira(llm=llm, frozen=["pixel_encoder", "semantic_encoder"])


def train_lira(rank, folder, data):
    engine = deepspeed_engine(lora_lira(), rank, 2, adam)
    losses = engine(**data, mode="loss")
    engine.backward(sum(value for name, value in losses.items() if name.startswith("loss")))
    engine.step()
    save(engine, folder, engine.module.state_dict())


def live_weights(folder):
    """Those of both processes, which are the same."""
    first, second = (torch.load(folder / f"live_{rank}.pth") for rank in range(2))
    assert first and all(torch.equal(first[name], second[name]) for name in first if not name.startswith("norm.run"))
    return first


@pytest.fixture(scope="module", params=[(2, torch.float32), (2, torch.bfloat16), (3, torch.float32)], ids=str)
def checkpoint(request, tmp_path_factory):
    """Folder and live weights of a training on two processes."""
    folder = tmp_path_factory.mktemp("zero") / "run"
    on_two_processes(train, folder, *request.param)
    return folder / "iter_2.pth", live_weights(folder)


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("name", ["model.safetensors", "iter_2.pth"])
def test_the_file_has_the_live_fp32_weights_and_no_frozen_ones(checkpoint, tmp_path, name):
    folder, live = checkpoint
    path = consolidate_zero(folder, tmp_path / "out" / name)
    read = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    assert set(read) == set(trained_state(Trained()))
    assert all(value.dtype == torch.float32 for value in read.values())
    assert same(read, live)
    assert [path.name for path in path.parent.iterdir()] == [name], "nothing half-written is left"


def test_xtuner_test_reads_the_file(checkpoint, tmp_path):
    from xtuner.model.utils import guess_load_checkpoint

    folder, live = checkpoint
    assert same(guess_load_checkpoint(str(consolidate_zero(folder, tmp_path / "iter_2.pth"))), live)


def test_a_work_dir_with_such_a_checkpoint_is_read_as_any_other(checkpoint):
    folder, live = checkpoint
    (folder.parent / "last_checkpoint").write_text(str(folder))
    (folder.parent / "recipe.py").write_text("model = dict(type='LIRA')")
    assert find_checkpoint(folder.parent) == folder
    model = Trained()
    load_into(model, folder.parent, may_lack=["frozen"])
    assert all(torch.equal(value.float(), live[name]) for name, value in trained_state(model).items())
    assert find_recipe(None, folder)[0].model.type == "LIRA"


def test_a_lira_trained_with_deepspeed_is_loaded_strictly(tmp_path):
    """Its state dict lacks the frozen parts, and its adapters share a matrix."""
    data = make_batch([refer_record(tmp_path, "a", ["cup"]), refer_record(tmp_path, "b", ["dog"])])
    on_two_processes(train_lira, tmp_path / "run", data)
    model = lora_lira()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_into(model, consolidate_zero(tmp_path / "run" / "iter_2.pth", tmp_path / "out.pth"))
    live = live_weights(tmp_path / "run")
    assert same(model.state_dict(), live)
    assert not any(torch.equal(before[name], live[name]) for name in live if "lora_B" in name)


def test_a_process_whose_file_is_missing(checkpoint, tmp_path):
    shutil.copytree(checkpoint[0], tmp_path / "iter_2.pth")
    next((tmp_path / "iter_2.pth").glob("*pp_rank_1_*optim_states.pt")).unlink()
    with pytest.raises(ValueError, match=r"(?s)Expected 2 of .*iter_2\.pth.* found 1"):
        consolidate_zero(tmp_path / "iter_2.pth", tmp_path / "out.pth")


def test_a_file_that_is_cut_off(checkpoint, tmp_path):
    shutil.copytree(checkpoint[0], tmp_path / "iter_2.pth")
    file = next((tmp_path / "iter_2.pth").glob("*_optim_states.pt"))
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"iter_2\.pth is no readable checkpoint"):
        consolidate_zero(tmp_path / "iter_2.pth", tmp_path / "out.pth")


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_code_in_a_file_is_not_run(checkpoint, tmp_path, monkeypatch):
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    shutil.copytree(checkpoint[0], tmp_path / "iter_2.pth")
    file = next((tmp_path / "iter_2.pth").glob("*_optim_states.pt"))
    torch.save(torch.load(file, weights_only=False) | {"more": Evil(tmp_path / "ran")}, file)
    with pytest.raises(ValueError, match=r"iter_2\.pth holds more than tensors"):
        consolidate_zero(tmp_path / "iter_2.pth", tmp_path / "out.pth")
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_a_file_needs_no_consolidation(tmp_path):
    torch.save(Trained().state_dict(), tmp_path / "iter_2.pth")
    with pytest.raises(ValueError, match=r"iter_2\.pth is a file, and needs no consolidation"):
        consolidate_zero(tmp_path / "iter_2.pth", tmp_path / "out.pth")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        consolidate_zero(tmp_path / "none.pth", tmp_path / "out.pth")


def test_weights_are_written_as_the_suffix_says_and_nothing_else(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"out is to hold weights and must end in \.safetensors or one of \.pth"):
        consolidate_zero(checkpoint[0], tmp_path / "out")


def test_read_state_dict_takes_the_folder(checkpoint):
    folder, live = checkpoint
    assert same(read_state_dict(folder), live)
