import json

import numpy as np
import pytest

from lira_plugin.datasets.json_records import RepeatedKey, UnreadableRecord, read_json_records


def read(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    return read_json_records(path)


def test_sound_files_are_read_as_json_does(tmp_path):
    content = {"images": [{"a": [1, {"b": None}]}, {}], "info": {"x": 'a "[", b'}, "none": []}
    assert read(tmp_path, json.dumps(content)) == content


@pytest.mark.parametrize(
    "bad", ["[" * 200_000 + "]" * 200_000, "9" * 5000, "{'a': 1}", "nul", '{"a" 1}', "[1,, 2]", ""]
)
@pytest.mark.parametrize("layout", ["[{0}, {1}, {2}]", '{{"info": 3, "a, [": [{0}, {1}, {2}]}}', " [{0},{1},{2}]\n"])
def test_a_record_that_is_no_json_leaves_the_others(tmp_path, bad, layout):
    first, last = {"text": 'a ] , " \\ } {', "list": [1, [2]]}, {"id": 3}
    found = read(tmp_path, layout.format(json.dumps(first), bad, json.dumps(last)))
    records = found if isinstance(found, list) else found["a, ["]
    assert records[0] == first and records[2] == last and isinstance(records[1], UnreadableRecord)
    assert isinstance(found, list) or found["info"] == 3


@pytest.mark.parametrize("text", ["", " ", "[1, 2", '{"a": [1, 2}', "[1] 2", "{1: [2]}", "nothing", "[[1, 2]"])
def test_what_is_no_json_outside_of_its_records_is_an_error(tmp_path, text):
    with pytest.raises(ValueError, match=r"a\.json is not a JSON file"):
        read(tmp_path, text)


def test_repeated_keys_are_no_values(tmp_path):
    assert read(tmp_path, '[{"a": 1, "b": 2, "a": 1}]') == [{"a": RepeatedKey("a", 2), "b": 2}]
    assert read(tmp_path, '{"a": [1], "a": []}') == {"a": RepeatedKey("a", 2)}


def test_random_texts_are_split_where_json_splits_them(tmp_path):
    """One bad record among random ones; the others must be what the standard reader makes of them."""
    rng = np.random.default_rng(0)
    letters = list('[]{},:"\\ aé\n')

    def value(depth):
        kind = rng.integers(4 if depth < 3 else 2)
        if kind == 0:
            return "".join(rng.choice(letters, rng.integers(6)))
        if kind == 1:
            return int(rng.integers(9))
        parts = [value(depth + 1) for _ in range(rng.integers(4))]
        return parts if kind == 2 else {f"{index}{rng.choice(letters)}": part for index, part in enumerate(parts)}

    for _ in range(100):
        records = [value(0) for _ in range(rng.integers(1, 5))]
        at = int(rng.integers(len(records) + 1))
        texts = [json.dumps(record, ensure_ascii=bool(rng.integers(2))) for record in records]
        found = read(tmp_path, f"[{', '.join([*texts[:at], 'nul', *texts[at:]])}]")
        assert isinstance(found.pop(at), UnreadableRecord) and found == records
