"""A name stands for a complete file: what is written replaces the old one when it is whole."""

import errno
import json
import os
import resource
import signal

import pytest

from lira_plugin.written_aside import write_json, write_json_list, write_text, written_aside


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "old")
    with written_aside(path) as unfinished:
        unfinished.write_text("ne")
        assert path.read_text() == "old" and unfinished.parent == path.parent
        unfinished.write_text("new")
    assert path.read_text() == "new" and listing(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_after_an_error_the_old_file_is_there_and_nothing_beside_it(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(error)), written_aside(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old" and listing(tmp_path) == ["a.txt"]


def test_a_full_disk_names_the_file(tmp_path):
    write_text(tmp_path / "a.json", "[]\n")
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.json could not be written: File too large"):
            write_json(tmp_path / "a.json", list(range(10_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a.json").read_text() == "[]\n" and listing(tmp_path) == ["a.json"]


def test_folders_are_replaced_as_files_are(tmp_path):
    for content in ("old", "new"):
        with written_aside(tmp_path / "folder") as unfinished:
            unfinished.mkdir()
            (unfinished / content).write_text(content)
    assert listing(tmp_path) == ["folder"] and listing(tmp_path / "folder") == ["new"]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path):
    (tmp_path / "a.txt.part").mkdir()
    write_text(tmp_path / "a.txt", "new")
    assert listing(tmp_path) == ["a.txt"]


def test_json_is_json(tmp_path):
    write_json_list(tmp_path / "a.json", [{"text": "猫"}, 2])
    assert (tmp_path / "a.json").read_text() == '[\n{"text": "猫"},\n2\n]\n'
    assert json.loads((tmp_path / "a.json").read_text()) == [{"text": "猫"}, 2]
    for write, content in ((write_json, {"score": float("nan")}), (write_json_list, [float("inf")])):
        with pytest.raises(ValueError, match="JSON"):
            write(tmp_path / "a.json", content)
    assert os.listdir(tmp_path) == ["a.json"]
