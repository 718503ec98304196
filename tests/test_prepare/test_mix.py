"""The mixture as a whole: what recipes read of it, Table 1, and what happens when sets are not there."""

import json
from dataclasses import replace

import pytest
from mmengine.config import Config
from support.official_files import NAMES, write, write_question_sets, write_region_sets
from support.paths import ROOT, config_path

from lira_plugin.prepare import mix
from lira_plugin.prepare.mix import QUESTIONS, MixOptions, SetsMissing, write_mix
from lira_plugin.registry import DATASETS

# Of the supplement, in thousands.
TABLE_1 = {
    "textvqa": 15,
    "llava_150k": 157,
    "scienceqa": 15,
    "vqav2": 60,
    "dvqa": 10,
    "aokvqa": 30,
    "vizwiz": 10,
    "ai2d": 30,
}
TABLE_1 |= {"okvqa": 9, "chartqa": 15, "gqa": 60, "refcoco": 51, "refcoco+": 51, "refcocog": 66}
IN_FIXTURE = {"textvqa": 2, "llava_150k": 3, "scienceqa": 2, "vqav2": 3, "dvqa": 3, "aokvqa": 3, "vizwiz": 2, "ai2d": 4}
IN_FIXTURE |= {"okvqa": 2, "chartqa": 3, "gqa": 3}


@pytest.fixture
def folders(tmp_path):
    return write_question_sets(tmp_path / "official"), write_region_sets(tmp_path / "data")


def read(out):
    return json.loads((out / QUESTIONS).read_text())


def test_all_sets_go_into_one_file_and_table_1_says_so(folders):
    root, out = folders
    lines = {line.name: line for line in write_mix(root, out)}
    assert {name: line.wanted for name, line in lines.items() if line.wanted} == {
        n: k * 1000 for n, k in TABLE_1.items()
    }
    assert {name: lines[name].found for name in NAMES} == IN_FIXTURE == {name: lines[name].written for name in NAMES}
    assert [(lines[name].found, lines[name].written) for name in ("refcoco", "refcoco+", "refcocog")] == [(1, 3)] * 3
    captions = ("refcocog_gcg", "flickr30k_gcg", "grandf_gcg", "openpsg_gcg")
    assert [(lines[name].found, lines[name].written) for name in captions] == [(1, 1), (1, 1), (1, 10), (1, 1)]
    assert all(line.licence and line.address.startswith("https://") for line in lines.values())
    records = read(out)
    assert len(records) == sum(IN_FIXTURE.values()) == len({record["id"] for record in records})
    assert {record["id"].split("/")[0] for record in records} == set(NAMES)


@pytest.mark.slow
def test_the_recipes_read_what_is_written_as_they_stand(folders, monkeypatch):
    root, out = folders
    write_mix(root, out)
    monkeypatch.setenv("LIRA_DATA", str(out))
    for name in ("lira_2b", "lira_8b", "lira_qwen2_1_5b"):
        parts = Config.fromfile(config_path(name)).train_dataloader.dataset.datasets
        repeats, found = [], []
        for part in parts:
            repeats.append(part.pop("repeats", 1))
            found.append(DATASETS.build(part))
        assert [len(data) for data in found] == [30, 1, 1, 1, 1, 1, 1, 1] and repeats == [1, 3, 3, 3, 1, 1, 10, 1]
        questions = found[0]
        for index in range(len(questions)):
            path = questions.get_record(index, None).image_path
            assert path is None or path.startswith(f"{out}/vqa/images/")
            assert path is None or (json.dumps(path) and (out / path).is_file())


def test_a_draw_is_seeded_and_does_not_depend_on_the_order_of_a_file(folders, monkeypatch):
    root, out = folders
    small = {name: replace(known, wanted=2) for name, known in mix.SETS.items() if name in NAMES}
    monkeypatch.setattr(mix, "SETS", small)
    lines = write_mix(root, out)
    assert [line.written for line in lines] == [2] * len(NAMES)
    first = read(out)
    path = root / "gqa/train_balanced_questions.json"
    write(path, dict(reversed(json.loads(path.read_text()).items())))
    path = root / "aokvqa/aokvqa_v1p0_train.json"
    write(path, json.loads(path.read_text())[::-1])
    write_mix(root, out)
    assert read(out) == first
    others = []
    for seed in (1, 2, 3):
        write_mix(root, out, options=MixOptions(seed=seed))
        others.append(read(out))
    assert all(other != first for other in others)


def test_missing_sets_are_named_with_their_address_and_left_out_on_request_alone(folders):
    root, out = folders
    (root / "gqa/train_balanced_questions.json").unlink()
    (out / "ref_seg/refcocog/instances.json").unlink()
    with pytest.raises(SetsMissing) as error:
        write_mix(root, out)
    message = str(error.value)
    assert "2 of the sets are not there" in message and "--allow-missing" in message
    assert "GQA (gqa): get it at https://cs.stanford.edu/people/dorarad/gqa/download.html" in message
    assert f"there is no {root}/gqa/train_balanced_questions.json or {root}/gqa/train_all_questions/*.json" in message
    assert f"there is no {out}/ref_seg/refcocog/instances.json" in message
    assert not (out / QUESTIONS).exists()
    lines = {line.name: line for line in write_mix(root, out, options=MixOptions(allow_missing=True))}
    assert [(name, line.written) for name, line in lines.items() if line.found is None] == [("gqa", 0), ("refcocog", 0)]
    assert not any(record["id"].startswith("gqa/") for record in read(out))


def test_nothing_at_all_is_an_error_even_if_sets_may_be_missing(tmp_path):
    with pytest.raises(SetsMissing, match="18 of the sets"):
        write_mix(tmp_path, tmp_path / "out", options=MixOptions(allow_missing=True))


def test_selected_sets_alone_are_looked_for(folders):
    root, out = folders
    (root / "vqav2/v2_mscoco_train2014_annotations.json").unlink()
    lines = write_mix(root, out, ["okvqa", "refcoco", "ai2d"])
    assert [line.name for line in lines] == ["ai2d", "okvqa", "refcoco"], "in the order of Table 1"
    assert {record["id"].split("/")[0] for record in read(out)} == {"ai2d", "okvqa"}
    with pytest.raises(ValueError, match=r"no sets \['coco'\]; known are \['textvqa'"):
        write_mix(root, out, ["coco"])
    (out / QUESTIONS).unlink()
    write_mix(root, out, ["refcoco"])
    assert not (out / QUESTIONS).exists(), "counting a set writes no file of questions"


def test_a_bad_record_leaves_the_former_file_as_it_was(folders):
    root, out = folders
    write_mix(root, out)
    former = (out / QUESTIONS).read_bytes()
    path = root / "dvqa/train_qa.json"
    content = json.loads(path.read_text())
    content[0]["answer"] = None
    write(path, content)
    with pytest.raises(ValueError, match=r"DVQA: 1 records are not of its format:\n.*record 0: .*\n.*--skip-bad"):
        write_mix(root, out)
    assert (out / QUESTIONS).read_bytes() == former
    lines = {line.name: line for line in write_mix(root, out, options=MixOptions(skip_bad=True))}
    assert lines["dvqa"].written == 2 and "left out 1 that are not of the format" in lines["dvqa"].remarks[0]


def test_what_rules_leave_out_is_counted(folders):
    root, out = folders
    lines = {line.name: line for line in write_mix(root, out)}
    assert lines["ai2d"].remarks == ("left out 2: the diagram is of the test split",)
    assert lines["vqav2"].remarks == ()


def test_a_set_without_a_training_record_is_an_error(folders):
    root, out = folders
    path = root / "aokvqa/aokvqa_v1p0_train.json"
    write(path, [{**entry, "split": "val"} for entry in json.loads(path.read_text())])
    with pytest.raises(ValueError, match="A-OKVQA holds no training record: .*not of the training split': 2"):
        write_mix(root, out)


def test_the_images_are_linked_and_something_else_is_left_alone(folders):
    root, out = folders
    (out / "vqa/images").mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r"vqa/images is there and is not .*official"):
        write_mix(root, out)
    (out / "vqa/images").rmdir()
    write_mix(root, out)
    write_mix(root, out)
    assert (out / "vqa/images").samefile(root)


def test_the_root_may_lie_where_the_recipes_look_for_images(tmp_path):
    root = write_question_sets(tmp_path / "vqa/images")
    write_mix(root, tmp_path, ["vqav2"])
    assert not root.is_symlink() and len(read(tmp_path)) == 3


def test_sets_with_too_few_records_are_filled_on_request(folders, monkeypatch):
    root, out = folders
    monkeypatch.setattr(mix, "SETS", {"okvqa": replace(mix.SETS["okvqa"], wanted=5)})
    (line,) = write_mix(root, out, options=MixOptions(fill=True))
    assert (line.found, line.written) == (2, 5)
    assert len({record["id"] for record in read(out)}) == 5


def test_the_guide_names_every_set_with_its_files_and_count():
    guide = (ROOT / "docs" / "data.md").read_text()
    rows = {line.split("`")[1]: line for line in guide.splitlines() if line.startswith("| `")}
    assert rows.keys() == mix.SETS.keys()
    for name, known in mix.SETS.items():
        assert f"| {known.title} |" in rows[name]
        assert known.wanted is None or f"| {known.wanted // 1000} k |" in rows[name]
        files = known.files.values() if name in NAMES else known.files
        for path in (paths[0] for paths in files):
            assert path in rows[name] or path.rpartition("/")[2] in rows[name], path
        if name in NAMES:
            assert known.licence.split(";")[0] in rows[name] or "license.txt" in rows[name]
            assert known.address.split(";")[0] in rows[name]
