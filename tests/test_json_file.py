import json
import os

import pytest

from lira_plugin.json_file import read_json


def test_what_was_written_is_read(tmp_path):
    content = {"name": "红色", "values": [1, None, 0.5]}
    (tmp_path / "a.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == content


def test_a_file_that_is_cut_off_or_absent_is_named(tmp_path):
    (tmp_path / "cut.json").write_text('{"name": [1, 2')
    with pytest.raises(ValueError, match=r"cut\.json is not a JSON file \(is it complete\?\)"):
        read_json(tmp_path / "cut.json")
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        read_json(tmp_path / "no.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"[1, \xe9]", r"is not UTF-8: byte 4 \(line 1\) is b'\\xe9'.*save the file as UTF-8"),
        ("[1]".encode("utf-16"), "is UTF-16, not UTF-8"),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deep"),
    ],
)
def test_other_contents_are_named(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json.*{message}"):
        read_json(tmp_path / "a.json")


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "pipe", "no regular file")):
        with pytest.raises(ValueError, match=message):
            read_json(path)


def test_a_byte_order_mark_is_no_part_of_it(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json") == [1]
