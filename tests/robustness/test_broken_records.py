"""Broken records over every reader: each is an error or a count that names file and record, and none hangs."""

import os
import pickle
import re
import signal
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.record_faults import FAULTS, HEIGHT, WIDTH, Fault, put, sound, to_bytes

from lira_plugin.datasets import CocoInstanceDataset, GCGDataset, LlavaDataset, ReferSegDataset, Sa2vaDataset
from lira_plugin.datasets.check import check_dataset
from lira_plugin.datasets.findings import UNUSABLE
from lira_plugin.datasets.question_files import read_questions


def build(reader: str, folder: Path, skip: bool = False) -> Any:
    """Read the files of a reader; its records have their images loaded and their masks made when they are drawn."""
    pipeline = [{"type": "LoadImage"}, {"type": "DecodeRegions"}]
    settings = {"pipeline": pipeline} | ({"on_bad_record": "skip"} if skip else {})
    root = str(folder)
    if reader in ("grandf", "refcocog", "flickr"):
        return GCGDataset(f"{root}/{'flickr' if reader == 'flickr' else 'gcg'}.json", root, reader, **settings)
    if reader == "coco":
        return CocoInstanceDataset(f"{root}/instances.json", root, **settings)
    if reader in ("refcoco", "grefcoco"):
        return ReferSegDataset(str(folder.parent), reader, "train", root, num_expressions=3, **settings)
    if reader == "llava":
        return LlavaDataset(f"{root}/llava.json", root, **settings)
    if reader == "sa2va":
        return Sa2vaDataset(f"{root}/sa2va.json", root, **settings)
    return read_questions(f"{root}/q.jsonl")


def read_all(reader: str, folder: Path) -> Any:
    """Build and draw everything."""
    dataset = build(reader, folder)
    if reader != "questions":
        for index in range(len(dataset)):
            for record in dataset.whole_records(index):
                dataset.pipeline({"record": record, "rng": np.random.default_rng(0), "index": index})
    return dataset


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with sound files for each reader, and the bytes of each."""
    root = tmp_path_factory.mktemp("readers")
    found = {}
    for reader, files in sound().items():
        (root / reader).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / reader / "a.png")
        found[reader] = root / reader, {file: to_bytes(file, content) for file, content in files.items()}
    return found


@pytest.fixture(autouse=True)
def no_hang():
    """A test that takes 20 s is ended."""

    def stop(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def write(folders: Any, fault: Fault | None, reader: str) -> Path:
    folder, files = folders[reader]
    for file, content in files.items():
        if fault is not None and file == fault.file:
            spoilt = deepcopy(sound()[reader][file])
            fault.spoil(spoilt)
            content = fault.spoil_bytes(to_bytes(file, spoilt))
        (folder / file).write_bytes(content)
    return folder


def test_there_are_enough():
    assert len(FAULTS) > 200 and len({fault.kind for fault in FAULTS}) >= 40
    assert {fault.reader for fault in FAULTS} == set(sound())


@pytest.mark.parametrize("reader", sound())
def test_the_sound_files_are_read(folders, reader):
    data = read_all(reader, write(folders, None, reader))
    assert len(data) == 2
    assert reader == "questions" or data.findings == []


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{index}-{fault.name}" for index, fault in enumerate(FAULTS)])
def test_a_fault_is_an_error_that_names_file_and_record(folders, fault):
    folder = write(folders, fault, fault.reader)
    with pytest.raises((ValueError, OSError, pickle.UnpicklingError)) as caught:
        read_all(fault.reader, folder)
    message = str(caught.value)
    assert not isinstance(caught.value, UnicodeError)
    assert fault.file in message or "a.png" in message
    assert fault.record in message, message
    assert re.search(fault.says, message, re.DOTALL), message
    message.encode()  # a log can be written in which it stands


OF_ONE_RECORD = [fault for fault in FAULTS if fault.record and fault.reader != "questions"]


@pytest.mark.parametrize("fault", OF_ONE_RECORD[::7], ids=lambda fault: fault.name)
def test_the_other_record_is_read_where_bad_ones_are_left_out(folders, fault):
    """The check does so: it finds the fault, and counts what is sound."""
    folder = write(folders, fault, fault.reader)
    data = build(fault.reader, folder, skip=True)
    data.pipeline.transforms.append(lambda result: (_ for _ in ()).throw(ValueError("drawn")))
    (check,) = check_dataset(data, show_progress=False)
    drawn = [finding for finding in check.of_effect(UNUSABLE) if finding.message.endswith("drawn")]
    others = [finding for finding in check.of_effect(UNUSABLE) if finding not in drawn]
    assert len(others) >= 1 and any(fault.record.split(" (")[0].split()[-1] in finding.message for finding in others)
    assert len(drawn) >= 1, "the sound record is read to its end"


@pytest.mark.parametrize("reader", sound())
def test_what_is_no_file_is_said(folders, reader, tmp_path):
    folder = write(folders, None, reader)
    for file in sound()[reader]:
        content = (folder / file).read_bytes()
        for make, says in (
            (os.mkdir, "is a folder"),
            (os.mkfifo, "no regular file"),
            (lambda path: None, "no |neither"),
        ):
            (folder / file).unlink()
            make(folder / file)
            with pytest.raises((ValueError, OSError), match=says) as caught:
                read_all(reader, folder)
            assert file in str(caught.value)
            if os.path.lexists(folder / file):
                (os.rmdir if make is os.mkdir else os.unlink)(folder / file)
            (folder / file).write_bytes(content)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_an_image_that_is_no_file_is_said(folders, make, tmp_path):
    """Nobody writes to the pipe, so to open it would wait without end."""
    folder = write(folders, None, "coco")
    data = build("coco", folder)
    image = (folder / "a.png").rename(tmp_path / "a.png")
    make(folder / "a.png")
    with pytest.raises(ValueError, match=r"record 1: .*a\.png .*no regular file"):
        data[0]
    (os.rmdir if make is os.mkdir else os.unlink)(folder / "a.png")
    image.rename(folder / "a.png")


COUNTED = [
    ("refcoco", "refs(unc).p", (1, "split"), "Train", "'Train', which is none of"),
    ("refcoco", "refs(unc).p", (1, "split"), "validation", "'validation', which is none of"),
    ("refcoco", "refs(unc).p", (1, "sentences"), [], "no sentence"),
    ("grefcoco", "grefs(unc).json", (1, "ref_id"), 1, "several refs have one"),
    ("grefcoco", "grefs(unc).json", (1, "sentences", 0, "sent"), " ", "sentence is empty"),
    ("coco", "instances.json", ("annotations", 1, "iscrowd"), 1, "crowd"),
    ("flickr", "flickr.json", ("annotations", 1, "ignore"), True, "ignore"),
]


@pytest.mark.parametrize(("reader", "file", "path", "value", "says"), COUNTED, ids=[case[4][:20] for case in COUNTED])
def test_what_is_left_out_of_a_sound_file_is_counted_and_named(folders, reader, file, path, value, says):
    data = read_all(reader, write(folders, Fault("", reader, file, "", "", put(path, value)), reader))
    (finding,) = data.findings
    assert (
        says in finding.message
        and file in finding.message
        and finding.record in ("1", "2", "2-2", "2: annotation 2", "annotation 2")
    )


@pytest.mark.parametrize("reader", sound())
def test_a_byte_order_mark_is_no_fault(folders, reader):
    for file in sound()[reader]:
        if not file.endswith(".p"):
            mark = Fault("", reader, file, "", "", spoil_bytes=lambda content: b"\xef\xbb\xbf" + content)
            assert len(read_all(reader, write(folders, mark, reader))) == 2
