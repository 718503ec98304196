"""Reading folders shard by shard, and writing them so that a broken-off run can go on."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lira_plugin.convert import shards as module
from lira_plugin.convert.safetensors_folder import SafetensorsFolder
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import TensorRule, check_rules

COUNT, SIZE = 6, 100


def write_source(folder, seed=0, count=COUNT):
    """Two shards of float tensors with 100 numbers, ``a0``, ``a1``, ..."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    state = {f"a{n}": torch.randn(SIZE, generator=generator) for n in range(count)}
    files = {name: f"model-0000{1 + n // (count // 2)}-of-00002.safetensors" for n, name in enumerate(state)}
    for file in set(files.values()):
        save_file({name: state[name] for name in state if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return state


def rules(count=COUNT):
    """Halves of every tensor."""
    return [TensorRule(f"a{n}", (SIZE,), (f"b{n}", f"c{n}"), lambda tensor: tensor.chunk(2)) for n in range(count)]


def read_all(paths):
    return {name: tensor for path in paths for name, tensor in load_file(path).items()}


def check_halves(found, state):
    assert found.keys() == {f"{letter}{n}" for letter in "bc" for n in range(len(state))}
    for name, tensor in state.items():
        assert torch.equal(torch.cat([found[f"b{name[1:]}"], found[f"c{name[1:]}"]]), tensor)


@pytest.mark.parametrize(("shard_bytes", "expected"), [(1e9, 1), (800, 3), (1, 6)])
def test_shards_hold_everything_once(tmp_path, shard_bytes, expected):
    state = write_source(tmp_path / "in")
    paths = write_shards(rules(), SafetensorsFolder(tmp_path / "in"), tmp_path / "out", shard_bytes=shard_bytes)
    assert len(paths) == expected
    assert all(path.stat().st_size < shard_bytes + 1000 or expected == 6 for path in paths)
    check_halves(read_all(paths), state)
    written = SafetensorsFolder(tmp_path / "out")  # with an index that fits
    assert sum(written.read(name).numel() for name in written.infos) == COUNT * SIZE


def test_a_run_goes_on_where_it_broke_off(tmp_path, monkeypatch):
    state = write_source(tmp_path / "in")
    arguments = rules(), SafetensorsFolder(tmp_path / "in"), tmp_path / "out"
    save, saved = module.save_file, []

    def break_off(tensors, path, **kwargs):
        if len(saved) == 2:
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt
        saved.append(path.name)
        save(tensors, path, **kwargs)

    monkeypatch.setattr(module, "save_file", break_off)
    with pytest.raises(KeyboardInterrupt):
        write_shards(*arguments, shard_bytes=400)
    assert not (tmp_path / "out" / "model.safetensors.index.json").exists()
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 2

    monkeypatch.setattr(
        module, "save_file", lambda tensors, path, **kwargs: saved.append(path.name) or save(tensors, path, **kwargs)
    )
    paths = write_shards(*arguments, shard_bytes=400)
    assert len(saved) == len(set(saved)) == len(paths) == COUNT, "every shard was written once"
    check_halves(read_all(paths), state)
    write_shards(*arguments, shard_bytes=400)
    assert len(saved) == COUNT, "nothing was left to do"
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.parametrize("spoil", ["cut", "other tensors", "other source"])
def test_an_unfit_shard_is_written_again(tmp_path, spoil):
    write_source(tmp_path / "in")
    path = write_shards(rules(), SafetensorsFolder(tmp_path / "in"), tmp_path / "out", shard_bytes=800)[1]
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif spoil == "other tensors":
        save_file({"x": torch.ones(2)}, path)
    state = write_source(tmp_path / "in", seed=1 if spoil == "other source" else 0)
    check_halves(
        read_all(write_shards(rules(), SafetensorsFolder(tmp_path / "in"), tmp_path / "out", shard_bytes=800)), state
    )


def test_shards_of_another_division_are_not_mixed_in(tmp_path):
    write_source(tmp_path / "in")
    source = SafetensorsFolder(tmp_path / "in")
    write_shards(rules(), source, tmp_path / "out", shard_bytes=800)
    with pytest.raises(ValueError, match=r"model-00001-of-00003\.safetensors.*choose another folder"):
        write_shards(rules(), source, tmp_path / "out")


def test_one_source_tensor_is_read_at_a_time(tmp_path, monkeypatch):
    write_source(tmp_path / "in")
    source = SafetensorsFolder(tmp_path / "in")
    read, reads, written = source.read, [], []
    save = module.save_file
    monkeypatch.setattr(source, "read", lambda name: reads.append(name) or read(name))
    monkeypatch.setattr(
        module, "save_file", lambda *args, **kwargs: written.append(len(reads)) or save(*args, **kwargs)
    )
    write_shards(rules(), source, tmp_path / "out", shard_bytes=800)
    assert written == [2, 4, 6], "a shard's tensors are read when it is its turn"
    assert reads == [f"a{n}" for n in range(COUNT)]


def truncate(folder):
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pointer(folder):
    (folder / "model-00002-of-00002.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )


def misplace(folder):
    path = folder / "model.safetensors.index.json"
    path.write_text(path.read_text().replace('"a0": "model-00001', '"a0": "model-00002'))


def pickled_only(folder):
    for path in list(folder.iterdir()):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (truncate, ValueError, r"model-00002-of-00002\.safetensors is cut off"),
        (pointer, ValueError, r"model-00002-of-00002\.safetensors is a git-lfs pointer: run `git lfs pull`"),
        (misplace, ValueError, r"about 1 tensors, first a0: the index says model-00002.*it is in model-00001"),
        (
            lambda folder: (folder / "model-00001-of-00002.safetensors").unlink(),
            FileNotFoundError,
            r"lacks model-00001-of-00002\.safetensors, which model\.safetensors\.index\.json names",
        ),
        (
            lambda folder: (folder / "model.safetensors.index.json").unlink(),
            FileNotFoundError,
            r"has shards but no model\.safetensors\.index\.json",
        ),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
            ValueError,
            "has no weight_map",
        ),
        (pickled_only, FileNotFoundError, "pickled weights only"),
    ],
)
def test_bad_folders(tmp_path, spoil, error, message):
    write_source(tmp_path / "in")
    spoil(tmp_path / "in")
    with pytest.raises(error, match=message):
        SafetensorsFolder(tmp_path / "in")


def test_all_problems_are_told_at_once(tmp_path):
    write_source(tmp_path / "in")
    wanted = [*rules(4), TensorRule("a4", (3, 4), ("x",)), TensorRule("absent", (7,), ("y",))]
    with pytest.raises(ValueError, match="the model") as caught:
        check_rules(wanted, SafetensorsFolder(tmp_path / "in").infos, "the model")
    message = str(caught.value)
    assert "absent (7,)" in message
    assert "a5 (100,) in model-00002-of-00002.safetensors" in message
    assert "a4 (100,) in model-00002-of-00002.safetensors, expected (3, 4)" in message


def test_unused_tensors_need_a_reason(tmp_path):
    write_source(tmp_path / "in")
    infos = SafetensorsFolder(tmp_path / "in").infos
    assert check_rules(rules(4), infos, "x", {"a[45]": "spare", "a0": "used all the same"}) == {
        "a4": "spare",
        "a5": "spare",
    }
    with pytest.raises(ValueError, match="1 unknown: a5"):
        check_rules(rules(4), infos, "x", {"a4": "spare"})
