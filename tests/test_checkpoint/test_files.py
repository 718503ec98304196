import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from mmengine.model import BaseModel
from safetensors.torch import save_file
from torch import nn

from lira_plugin.checkpoint.files import (
    check_state,
    is_meta_init,
    load_into,
    read_state_dict,
    write_state_dict,
)
from lira_plugin.checkpoint.latest import find_checkpoint


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 3)
        self.decoder = nn.Linear(3, 1)


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_a_missing_file_tells_the_command_that_makes_it(tmp_path):
    command = "xtuner train configs/lira_tiny/lira_tiny_segmenter.py"
    for path in (tmp_path / "no.pth", tmp_path / "no_dir", tmp_path):
        with pytest.raises(FileNotFoundError, match=command) as error:
            load_into(Part(), path, made_by=command)
        assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError) as error:
        find_checkpoint(tmp_path / "no.pth")
    assert "make it" not in str(error.value)


def test_a_work_dir_stands_for_its_last_checkpoint(tmp_path):
    for name in ("iter_10.pth", "iter_20.pth", "iter_30.pth"):
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_20.pth"))
    assert find_checkpoint(tmp_path) == tmp_path / "iter_20.pth"
    assert find_checkpoint(str(tmp_path / "iter_10.pth")) == tmp_path / "iter_10.pth"


def test_a_work_dir_that_was_moved_still_stands_for_its_last_checkpoint(tmp_path):
    (tmp_path / "iter_20.pth").write_bytes(b"weights")
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/iter_20.pth\n")
    assert find_checkpoint(tmp_path) == tmp_path / "iter_20.pth"


def test_a_copy_of_a_work_dir_stands_for_its_own_checkpoint(tmp_path):
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    (first / "iter_20.pth").write_bytes(b"weights")
    (first / "last_checkpoint").write_text(str(first / "iter_20.pth"))
    shutil.copytree(first, copy)
    assert find_checkpoint(copy) == copy / "iter_20.pth"
    (copy / "iter_20.pth").unlink()  # as where MMEngine is told to write checkpoints elsewhere
    assert find_checkpoint(copy) == first / "iter_20.pth"


def test_a_work_dir_whose_last_checkpoint_is_gone_is_an_error(tmp_path):
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/iter_20.pth")
    with pytest.raises(FileNotFoundError, match=r"iter_20\.pth"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_file_that_was_cut_off_is_an_error_that_names_it(tmp_path, legacy, share):
    path = tmp_path / "half.pth"
    torch.save({"weight": torch.randn(500)}, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"half\.pth"):
        read_state_dict(path)


def test_a_truncated_zip_asks_whether_the_download_is_complete(tmp_path):
    path = tmp_path / "half.pth"
    torch.save({"weight": torch.randn(500)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="download complete"):
        read_state_dict(path)


def test_a_truncated_safetensors_file_is_an_error(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({"weight": torch.randn(500)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"half\.safetensors.*download complete"):
        read_state_dict(path)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Attribute:
    def __reduce__(self):
        return getattr, ("text", "upper")


def test_attributes_of_anything_are_not_handed_out(tmp_path):
    """MMEngine's loss history needs four functions of its own class; nothing else may be looked up."""
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "meta": Attribute()}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth.*safety"):
        read_state_dict(tmp_path / "odd.pth")


def test_a_folder_that_lacks_files_says_which_and_not_that_the_download_is_incomplete(tmp_path):
    (tmp_path / "latest").write_text("iter_2.pth")
    (tmp_path / "iter_2.pth").mkdir()
    with pytest.raises(FileNotFoundError, match=r"iter_2\.pth"):
        read_state_dict(tmp_path / "iter_2.pth")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, how):
    path, marker = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"state_dict": {"weight": torch.zeros(1)}, "meta": Malicious(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps({"meta": Malicious(marker)}, 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(ValueError, match=r"evil\.pth.*safety"):
        read_state_dict(path)
    assert not marker.exists()


def test_safetensors_and_torch_files_give_the_same(tmp_path):
    state = Part().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "c.pth")
    torch.save({"module": state, "ds_version": "0.16"}, tmp_path / "d.pt")
    for path in tmp_path.iterdir():
        assert same(read_state_dict(path), state), path.name


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3, "lr": 0.1}, {"state_dict": {"a": 3}}])
def test_a_file_without_a_state_dict_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth has no state dict"):
        read_state_dict(tmp_path / "odd.pth")


class Trained(BaseModel):
    def __init__(self):
        super().__init__()
        self.part = Part()

    def forward(self, x, mode="loss"):
        return {"loss": self.part.decoder(self.part.encoder(x)).mean(), "accuracy": x.sum()}


def test_what_mmengine_saves_is_read_with_its_message_hub(tmp_path):
    from mmengine.runner import Runner

    model = Trained()
    Runner(
        model,
        str(tmp_path),
        train_dataloader={
            "dataset": [{"x": torch.randn(2)} for _ in range(6)],
            "batch_size": 2,
            "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "collate_fn": {"type": "default_collate"},
        },
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": 3},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.01}},
        param_scheduler=[{"type": "CosineAnnealingLR", "by_epoch": False, "T_max": 3}],
        default_hooks={"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 3}},
        default_scope="mmengine",
        experiment_name=f"checkpoint_{tmp_path.name}",
        log_level="ERROR",
    ).train()
    content = torch.load(tmp_path / "iter_3.pth", weights_only=False)
    assert content["message_hub"]["log_scalars"], "what makes the file more than tensors"
    fresh = Trained()
    load_into(fresh, tmp_path)
    assert same(fresh.state_dict(), model.state_dict())


def test_loading_gives_the_weights_of_the_file(tmp_path):
    source, target = Part(), Part()
    torch.save(source.state_dict(), tmp_path / "a.pth")
    load_into(target, tmp_path / "a.pth")
    assert same(target.state_dict(), source.state_dict())


def own_memory() -> int:
    """KiB of this process that are backed by no file."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="asks Linux for the memory of this process")
def test_a_torch_file_is_not_copied_into_memory(tmp_path):
    torch.save({f"w{number}": torch.ones(2**22) for number in range(8)}, tmp_path / "large.pth")
    before = own_memory()
    state = read_state_dict(tmp_path / "large.pth")
    assert all(value.sum() == 2**22 for value in state.values())
    assert own_memory() - before < 2**15, "KiB, of the 2**17 that the file has"


def test_a_prefix_puts_a_part_into_the_whole(tmp_path):
    source, whole = Part(), Trained()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    torch.save(source.encoder.state_dict(), tmp_path / "a.pth")
    load_into(whole, tmp_path / "a.pth", prefix="part.encoder.")
    assert same(whole.part.encoder.state_dict(), source.encoder.state_dict())
    assert torch.equal(whole.part.decoder.weight, before["part.decoder.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("decoder.bias"), r"1 missing: decoder\.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unknown: extra"),
        (
            lambda state: state.update({"encoder.weight": torch.zeros(3, 5)}),
            r"1 of another shape: encoder\.weight \(3, 5\) instead of \(3, 2\)",
        ),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_an_error(tmp_path, change, message):
    state = Part().state_dict()
    change(state)
    torch.save(state, tmp_path / "a.pth")
    target = Part()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        load_into(target, tmp_path / "a.pth")
    assert "a.pth" in str(error.value)
    assert same(target.state_dict(), before), "nothing was loaded"


def test_a_missing_prefix_shows_as_unknown_and_missing_names(tmp_path):
    torch.save(Part().state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"4 unknown: decoder\.bias.*4 missing: part\.decoder\.bias"):
        load_into(Trained(), tmp_path / "a.pth")


def test_parts_may_be_lacked_and_ignored_on_request(tmp_path):
    source, target = Part(), Part()
    decoder = target.decoder.weight.detach().clone()
    torch.save({**source.encoder.state_dict(prefix="encoder."), "old.head": torch.zeros(2)}, tmp_path / "a.pth")
    load_into(target, tmp_path / "a.pth", may_lack=["decoder"], ignore=["old."])
    assert torch.equal(target.encoder.weight, source.encoder.weight) and torch.equal(target.decoder.weight, decoder)


def test_whether_weights_are_left_out_is_found_without_drawing_numbers():
    state = torch.get_rng_state()
    assert not is_meta_init()
    with torch.device("meta"):
        assert is_meta_init()
    with init_empty_weights():
        assert is_meta_init()
    assert torch.equal(state, torch.get_rng_state())


def test_a_long_list_of_problems_is_cut():
    own = {f"w{number}": torch.zeros(1) for number in range(9)}
    with pytest.raises(ValueError, match=r"9 missing: w0, w1, w2, w3, \.\.\.; take one that this recipe trained$"):
        check_state({}, own, "x")
    check_state(own, own, "x")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_what_is_written_is_read_again_and_takes_no_more_than_its_size(tmp_path, suffix):
    large = torch.randn(500, 500)
    state = {"a": large[:3], "again": large[:3], "turned": large[:4, :5].T, "number": torch.tensor(3)}
    path = write_state_dict(state, tmp_path / "new" / f"model{suffix}")
    assert same(read_state_dict(path), state)
    assert path.stat().st_size < 20_000, "not the memory that the tensors are views of"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with pytest.raises(ValueError, match=r"model\.npz .* must end in \.safetensors or one of \.pth"):
        write_state_dict(state, tmp_path / "model.npz")
