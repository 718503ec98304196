import json

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
