"""Comparing with the official releases, and the command."""

import json
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from support.official_files import NAMES, write, write_question_sets, write_region_sets
from support.paths import ROOT

from lira_plugin.prepare import mix, verify
from lira_plugin.prepare.mix import SetsMissing
from lira_plugin.prepare.official_sets import QUESTION_SETS, Known
from lira_plugin.prepare.verify import verify_coco_images, verify_region_set, verify_set

SETS = {known.name: known for known in QUESTION_SETS}


@pytest.fixture(scope="module")
def tool():
    spec = spec_from_file_location("prepare_data", ROOT / "tools" / "prepare_data.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path):
    return write_question_sets(tmp_path / "official")


def with_known(name, *known):
    return replace(SETS[name], known=known)


def test_counts_that_agree_and_counts_that_do_not(root):
    right, wrong = Known("questions", 3, "a source"), Known("questions", 443_757, "another source")
    result = verify_set(with_known("vqav2", right, wrong), root)
    assert result.agreed == ("3 questions (a source)",) and result.records == 3
    (difference,) = result.differences
    assert difference.kind == verify.COUNT
    assert "3 questions, but the official release has 443,757 questions (another source)" in difference.message


def test_records_and_images_are_looked_at(root):
    (root / "gqa/images/2354781.jpg").unlink()
    path = root / "gqa/train_balanced_questions.json"
    content = json.loads(path.read_text())
    content["02930150"]["answer"] = None
    write(path, content)
    for images in (None, 200):
        result = verify_set(with_known("gqa"), root, images)
        assert result.records == 2 and result.images_checked == 2
        bad, missing = result.differences
        assert bad.kind == verify.BAD_RECORD and "record '02930150'" in bad.message
        assert missing.kind == verify.NO_IMAGE and f"there is no {root}/gqa/images/2354781.jpg" in missing.message


def test_a_drawn_share_of_the_images_is_looked_for(root):
    assert verify_set(with_known("vqav2"), root, images=2).images_checked == 2
    assert verify_set(with_known("vqav2"), root, images=None).images_checked == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_set_that_is_not_there(tmp_path, name):
    result = verify_set(SETS[name], tmp_path)
    assert result.records is None and {d.kind for d in result.differences} == {verify.MISSING}
    assert all(SETS[name].address in d.message for d in result.differences)


def test_a_file_of_another_split_or_cut_off(root):
    path = root / "textvqa/TextVQA_0.5.1_train.json"
    write(path, {**json.loads(path.read_text()), "dataset_type": "val"})
    (difference,) = verify_set(SETS["textvqa"], root).differences
    assert difference.kind == verify.BAD_RECORD and "'dataset_type' is 'val'" in difference.message
    path.write_text("{")
    (difference,) = verify_set(SETS["textvqa"], root).differences
    assert "is it complete?" in difference.message


def test_refs_are_counted_by_their_splits(tmp_path):
    data = write_region_sets(tmp_path)
    refcoco, captions = mix.SETS["refcoco"], mix.SETS["flickr30k_gcg"]
    right, wrong = Known("refs of val", 1, "here"), Known("refs of testA", 1_975, "there")
    result = verify_region_set(replace(refcoco, known=(right, wrong)), data)
    assert result.records == 1 and result.agreed == ("1 refs of val (here)",)
    (difference,) = result.differences
    assert (
        difference.kind == verify.COUNT and "0 refs of testA, but the official release has 1,975" in difference.message
    )
    assert verify_region_set(captions, data).differences == ()
    assert sum(known.count for known in refcoco.known) == 50_000, "RefCOCO has 50,000 refs"
    (data / "ref_seg/refcoco/refs(unc).p").write_bytes(b"cos\nsystem\n.")
    (difference,) = verify_region_set(refcoco, data).differences
    assert difference.kind == verify.BAD_RECORD and "refs(unc).p" in difference.message
    (data / "ref_seg/refcoco/refs(unc).p").unlink()
    (difference,) = verify_region_set(refcoco, data).differences
    assert difference.kind == verify.MISSING


def test_the_images_of_coco_are_counted(root, monkeypatch):
    agreed, differences = verify_coco_images(root)
    assert agreed == [] and [d.source for d in differences] == ["coco/train2014", "coco/train2017"]
    assert "holds 5 images, but the official release has 82,783" in differences[0].message
    monkeypatch.setattr(verify, "COCO_IMAGES", {"coco/train2014": Known("images", 5, "here"), "coco/val2014": None})
    assert verify_coco_images(root) == (["coco/train2014: 5 images (here)"], [])


def test_the_command_mixes_and_prints_table_1(tool, root, tmp_path, capsys):
    out = write_region_sets(tmp_path / "data")
    assert tool.main(["mix", str(root), str(out), "--json", str(tmp_path / "j" / "mix.json")]) == 0
    printed = capsys.readouterr().out
    rows = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    assert rows["VQAv2"][1:4] == ["3", "60,000", "3"] and rows["VQAv2"][-1] == "train2014"
    assert rows["all of VQA"][3:] == ["30", "411,000", "30"]
    assert rows["all of RefSeg"][3:] == ["3", "168,000", "9"] and rows["all of GCG"][3:] == ["4", "206,000", "13"]
    assert "AI2D: left out 2: the diagram is of the test split" in printed
    assert "it has fewer records than Table 1 says" in printed and f"LIRA_DATA={out}" in printed
    written = json.loads((tmp_path / "j" / "mix.json").read_text())
    assert len(written) == 18 and written[0]["title"] == "TextVQA" and written[0]["found"] == 2


def test_the_command_says_what_is_missing_and_fails(tool, root, tmp_path, capsys):
    with pytest.raises(SetsMissing, match=r"7 of the sets are not there:(.|\n)*RefCOCO\+ \(refcoco\+\): get it at"):
        tool.main(["mix", str(root), str(tmp_path / "data")])
    with pytest.raises(SetsMissing):
        tool.main(["mix", str(root), str(tmp_path / "data"), "--json", str(tmp_path / "missing.json")])
    assert len(json.loads((tmp_path / "missing.json").read_text())) == 7
    with pytest.raises(FileNotFoundError, match="no folder .*docs/data.md"):
        tool.main(["verify", str(tmp_path / "elsewhere")])
    assert tool.main(["mix", str(root), str(tmp_path / "data"), "--allow-missing"]) == 0
    assert "RefCOCO+: there is no" in capsys.readouterr().out


def test_the_command_verifies(tool, root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tool, "QUESTION_SETS", [with_known("okvqa", Known("questions", 2, "here")), SETS["chartqa"]])
    monkeypatch.setattr(verify, "COCO_IMAGES", {})
    assert tool.main(["verify", str(root), "--sets", "okvqa"]) == 0
    assert "the same: 2 questions (here)" in capsys.readouterr().out
    assert tool.main(["verify", str(root), "--json", str(tmp_path / "v.json")]) == 1
    assert "count: 3 questions, but the official release has 28,299" in capsys.readouterr().out
    written = json.loads((tmp_path / "v.json").read_text())
    assert [entry["name"] for entry in written["sets"]] == ["okvqa", "chartqa"]
    assert written["sets"][1]["differences"][0]["kind"] == "count"
    data = write_region_sets(tmp_path / "data")
    assert tool.main(["verify", str(root), "--sets", "okvqa", "grandf_gcg", "--data", str(data)]) == 0
    assert "GranDf: 1 training records" in capsys.readouterr().out
    (root / "chartqa/ChartQA Dataset/train/train_human.json").unlink()
    assert tool.main(["verify", str(root)]) == 1
    assert tool.main(["verify", str(root), "--allow-missing"]) == 0
