"""Records of large files are read once, and a store gives back what reading gives."""

import json
import multiprocessing
import os
import pickle
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from support.official_files import write_coco_instances, write_region_sets
from support.processes import start

from lira_plugin.datasets import (
    CocoInstanceDataset,
    CocoPhraseDataset,
    CocoPromptDataset,
    GCGDataset,
    LlavaDataset,
    MixtureDataset,
    ReferSegDataset,
    lengths,
    reader_report,
    stored_reading,
)
from lira_plugin.datasets.cache_folder import load_integers, save_integers
from lira_plugin.datasets.record_store import HEADER, OFFSETS, RECORDS, Damaged, RecordStore, Unstorable, write_store
from lira_plugin.structures import Conversation, Record, Region, Turn

PIPELINE = [lambda results: results]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the stores, in which all files count as large."""
    monkeypatch.setenv("LIRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stored_reading, "STORED_FROM", 0)
    return tmp_path / "cache"


def llava_file(path, count=5):
    entries = [
        {"id": index, "image": f"{index}.jpg", "conversations": [{"from": "human", "value": f"What is {index}?"},
                                                                {"from": "gpt", "value": "one " * (index + 1)}]}
        for index in range(count)
    ]  # fmt: skip
    path.write_text(json.dumps(entries))
    return path


def llava(path, **settings):
    return LlavaDataset(str(path), "images", PIPELINE, **settings)


def stored_in(cache):
    return [path for path in cache.glob("records/*") if path.is_dir()]


def is_stored(dataset):
    return isinstance(dataset._records, RecordStore)


def readers(root: Path):
    """Every reader, on files of its official layout, with a fault here and there that is left out."""
    images = root / "coco/images"
    write_region_sets(root / "sets")
    instances = root / "coco/instances.json"
    images.mkdir(parents=True)
    write_coco_instances(instances, images)
    content = json.loads(instances.read_text())
    content["images"].append({**content["images"][0], "id": 77})
    content["annotations"].append({**content["annotations"][0], "id": 977, "image_id": 77, "category_id": 999})
    instances.write_text(json.dumps(content))
    bad = llava_file(root / "llava.json")
    bad.write_text(json.dumps([*json.loads(bad.read_text()), {"id": "x", "conversations": []}]))
    skip = {"pipeline": PIPELINE, "on_bad_record": "skip"}
    coco = {"ann_file": str(instances), "image_root": str(images), **skip}
    found = {
        "llava": lambda: LlavaDataset(str(bad), "images", **skip),
        "instances": lambda: CocoInstanceDataset(**coco),
        "prompt": lambda: CocoPromptDataset(**coco),
        "phrases": lambda: CocoPhraseDataset(**coco),
        "phrases in training": lambda: CocoPhraseDataset(**coco, num_expressions=2),
    }
    for refs in sorted((root / "sets").rglob("*refs(*")):
        split = {"data_root": str(refs.parent.parent), "dataset": refs.parent.name, "split": "train"}
        split |= {"split_by": refs.name.split("(")[1].split(")")[0], "image_root": "images", **skip}
        found[f"{refs.name} of {refs.parent.name}"] = lambda split=split: ReferSegDataset(**split)
        found[f"training on {refs.name} of {refs.parent.name}"] = lambda split=split: ReferSegDataset(
            **split, num_expressions=2
        )
    for layout, name in (("grandf", "*GranDf*train*"), ("refcocog", "RefCOCOg*train*"), ("flickr", "flickr*train*")):
        for path in sorted((root / "sets").rglob(name)):
            found[f"{layout} {path.name}"] = lambda path=path, layout=layout: GCGDataset(
                str(path), "images", layout, **skip
            )
    return found


def test_every_reader_gives_the_records_findings_and_logs_of_a_reading_in_memory(cache, tmp_path, monkeypatch):
    def everything(build):
        logged = []
        monkeypatch.setattr(reader_report, "log_skipped", lambda *arguments, **named: logged.append((arguments, named)))
        data = build()
        records = [data[index]["record"] for index in range(len(data))]
        whole = [list(data.whole_records(index)) for index in range(len(data))]
        shared = (data.findings, logged, data.image_paths, data.modality_length, getattr(data, "classes", None))
        return is_stored(data), records, whole, shared

    found = readers(tmp_path)
    kinds = {name.split()[0] for name in found}
    assert {"llava", "instances", "prompt", "phrases", "training", "grandf", "refcocog", "flickr"} <= kinds
    for name, build in found.items():
        monkeypatch.setattr(stored_reading, "STORED_FROM", 2**40)
        kept, *in_memory = everything(build)
        monkeypatch.setattr(stored_reading, "STORED_FROM", 0)
        (first, *once), (second, *twice) = everything(build), everything(build)
        assert (kept, first, second) == (False, True, True), name
        assert once == in_memory and twice == in_memory, name
    assert len(stored_in(cache)) == len(found)


def test_a_stored_file_is_not_read_again_until_it_changes(cache, tmp_path, monkeypatch):
    path = llava_file(tmp_path / "a.json")
    llava(path)
    monkeypatch.setattr(LlavaDataset, "_parse", lambda *arguments: pytest.fail("the file was read again"))
    assert len(llava(path)) == 5
    monkeypatch.undo()
    monkeypatch.setenv("LIRA_CACHE", str(cache))
    monkeypatch.setattr(stored_reading, "STORED_FROM", 0)
    llava_file(path, 6)
    assert len(llava(path)) == 6
    text = path.read_text().replace("What is 0", "Who is 00")
    path.write_text(text)
    os.utime(path, ns=(1, 1))
    assert llava(path)[0]["record"].conversation.turns[0].question.startswith("Who"), "of the same length"
    assert llava(path, source="other")[0]["record"].source == "other"
    assert llava(path, exif="ignore")[0]["record"].exif == "ignore"


@pytest.mark.parametrize("name", [RECORDS, OFFSETS, HEADER])
@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "gone"])
def test_a_damaged_store_is_made_anew(cache, tmp_path, name, damage):
    path = llava_file(tmp_path / "a.json")
    wanted = [llava(path)[index]["record"] for index in range(5)]
    (folder,) = stored_in(cache)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    damaged = {"cut": data[:-3], "changed": data, "emptied": b""}
    if damage == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damaged[damage])
    again = llava(path)
    assert [again[index]["record"] for index in range(5)] == wanted
    assert is_stored(again) and stored_in(cache) == [folder]


DAMAGED_FILES = {
    "line break in the head": lambda data: data[:8] + b"\n" + data[9:],
    "bracket in the head": lambda data: data[:10] + b"(" + data[11:],
    "changed value": lambda data: data[:-12] + bytes([data[-12] ^ 1]) + data[-11:],
    "of an archive": lambda data: b"PK\x03\x04" + data[4:],
    "cut": lambda data: data[:-3],
    "longer": lambda data: data + b"\0",
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(4),
}


@pytest.mark.parametrize("damage", DAMAGED_FILES)
def test_damaged_integers_are_computed_again(cache, tmp_path, damage):
    """Offsets and lengths: also where NumPy would raise what Python's parser raises, or would take a changed value."""
    path = llava_file(tmp_path / "a.json")
    wanted = llava(path)
    records, lengths_of = [wanted[index]["record"] for index in range(5)], wanted.modality_length
    (folder,) = stored_in(cache)
    (of_lengths,) = folder.glob("lengths-*.npy")
    for file in (of_lengths, folder / OFFSETS):
        data = file.read_bytes()
        file.write_bytes(DAMAGED_FILES[damage](data))
        again = llava(path)
        assert [again[index]["record"] for index in range(5)] == records and again.modality_length == lengths_of
        assert is_stored(again) and file.read_bytes() == data


def test_any_damaged_byte_of_integers_is_a_value_error(tmp_path):
    path = tmp_path / "values.npy"
    save_integers(path, np.arange(7, dtype=np.int32))
    data = path.read_bytes()
    assert load_integers(path, np.int32).tolist() == list(range(7))
    for position in range(len(data)):
        for byte in b"\n\0\xff('":
            path.write_bytes(data[:position] + bytes([byte]) + data[position + 1 :])
            if data[position] != byte:
                with pytest.raises(ValueError, match=r"values\.npy is not as it was written"):
                    load_integers(path, np.int32)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="must hold int64"):
        load_integers(path, np.int64)


def test_damage_after_the_start_is_an_error_that_names_the_folder(cache, tmp_path):
    data = llava(llava_file(tmp_path / "a.json"))
    (folder,) = stored_in(cache)
    (folder / RECORDS).write_bytes(b"\xc1" * (folder / RECORDS).stat().st_size)
    with pytest.raises(Damaged, match=f"record 2 of {folder} .*delete the folder"):
        data[2]


def test_a_store_goes_to_other_processes_as_its_folder(cache, tmp_path):
    data = llava(llava_file(tmp_path / "a.json", 500))
    text = pickle.dumps(data._records)
    assert len(text) < 500 and list(pickle.loads(text)) == list(data._records)
    with pytest.raises(IndexError):
        data._records[500]


@pytest.mark.parametrize("kind", ["a file in its way", "a full disk"])
def test_a_cache_that_cannot_be_written_stops_nothing(cache, tmp_path, monkeypatch, kind):
    logged = []
    monkeypatch.setattr(stored_reading, "print_log", lambda message, **_: logged.append(message))
    if kind == "a file in its way":
        cache.write_text("")
    else:
        monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    data = llava(llava_file(tmp_path / "a.json"))
    assert len(data) == 5 and not is_stored(data) and not stored_in(cache)
    assert len(logged) == 1 and str(cache) in logged[0] and "LIRA_CACHE" in logged[0]
    assert len(data.modality_length) == 5


@pytest.mark.parametrize("value", [2**70, float("nan"), "\ud800", (1.0, 2.0)])
def test_what_a_store_would_change_is_not_stored(tmp_path, value):
    record = Record("a", "1", None, Conversation((Turn("", ""),)), (Region("b", ([[value]],)),))
    with pytest.raises(Unstorable, match="record 1"):
        write_store(tmp_path / "store", [record])
    assert not list(tmp_path.iterdir())


def test_bad_records_are_raised_at_each_start_and_nothing_is_stored(cache, tmp_path):
    path = llava_file(tmp_path / "a.json")
    path.write_text(json.dumps([*json.loads(path.read_text()), {"id": "x"}]))
    for _ in range(2):
        with pytest.raises(ValueError, match="record x"):
            llava(path)
    assert not stored_in(cache)


def test_of_two_processes_one_reads_and_the_other_waits(cache, tmp_path, monkeypatch):
    """As threads: a lock is of an open file, and each of them opens its own."""
    path, parsed, parse = llava_file(tmp_path / "a.json"), [], LlavaDataset._parse

    def slow(self, *arguments):
        parsed.append(self)
        time.sleep(0.3)
        return parse(self, *arguments)

    monkeypatch.setattr(LlavaDataset, "_parse", slow)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(llava, [path, path]))
    assert len(parsed) == 1 and [len(data) for data in found] == [5, 5] and all(map(is_stored, found))


def killed_while_writing(path):
    """End in the middle of the first pass."""
    stored_reading.STORED_FROM = 0
    np.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    llava(path)


def killed_while_counting(path):
    """End after two of three chunks of lengths."""
    stored_reading.STORED_FROM, lengths.CHUNK = 0, 10
    count = lengths._Chunks.__getitem__

    def last(self, chunk):
        return os.kill(os.getpid(), signal.SIGKILL) if chunk == 2 else count(self, chunk)

    lengths._Chunks.__getitem__ = last
    multiprocessing.current_process()._config["daemon"] = True  # so that it counts by itself
    llava(path).modality_length  # noqa: B018


@pytest.mark.slow
def test_a_first_pass_that_was_killed_is_done_again_and_goes_on(cache, tmp_path, monkeypatch):
    path = llava_file(tmp_path / "a.json", 25)
    for function in (killed_while_writing, killed_while_counting):
        process = start(function, str(path))
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    monkeypatch.setattr(lengths, "CHUNK", 10)
    counted, count = [], lengths._Chunks.__getitem__
    monkeypatch.setattr(lengths._Chunks, "__getitem__", lambda self, chunk: counted.append(chunk) or count(self, chunk))
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    data = llava(path)
    assert data.modality_length == [3 + index + 1 for index in range(25)] and counted == [2]
    assert data.modality_length and counted == [2], "the lengths are stored"


def test_a_mixture_reads_its_large_files_in_workers_and_draws_nothing_for_it(cache, tmp_path):
    files = [llava_file(tmp_path / f"{name}.json", count) for name, count in (("a", 3), ("b", 4))]
    entries = [
        {"type": LlavaDataset, "ann_file": str(path), "image_root": "images", "source": path.stem} for path in files
    ]
    state = torch.get_rng_state()
    mixture = MixtureDataset(entries, pipeline=PIPELINE)
    assert all(map(is_stored, mixture.datasets)) and len(stored_in(cache)) == 2
    assert mixture.modality_length == [3 + index + 1 for index in (0, 1, 2, 0, 1, 2, 3)]
    assert mixture.image_paths == [f"images/{index}.jpg" for index in (0, 1, 2, 0, 1, 2, 3)]
    assert torch.equal(torch.get_rng_state(), state)


def test_errors_of_a_mixture_are_those_of_its_readers(cache, tmp_path):
    path = llava_file(tmp_path / "a.json")
    path.write_text('[{"id": "x"}]')
    with pytest.raises(ValueError, match="record x"):
        MixtureDataset([{"type": LlavaDataset, "ann_file": str(path), "image_root": "images"}], pipeline=PIPELINE)


def test_draws_of_lengths_do_not_depend_on_chunks_before(cache, tmp_path, monkeypatch):
    write_region_sets(tmp_path / "sets")
    (path,) = sorted((tmp_path / "sets").rglob("RefCOCOg*train*"))[:1]
    data = GCGDataset(str(path), "images", "refcocog", PIPELINE, seed=3)
    whole = lengths._Chunks(data, lengths._words)
    assert data.modality_length == [*np.concatenate([whole[chunk] for chunk in reversed(range(len(whole)))][::-1])]
