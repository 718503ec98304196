"""What ``look`` says of each layout, against how the files were made; its recipe lines are built and read."""

import json
import os
import pickle
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

import numpy as np
import pytest
from support import people_files
from support.paths import ROOT
from support.people_files import HEIGHT, POLYGONS, WIDTH, hub_records, raw_records, rle_of, write_json, write_parquet

import lira_plugin.datasets
from lira_plugin.prepare.layouts import KINDS, UnknownLayout
from lira_plugin.prepare.look import look


@pytest.fixture(scope="module")
def tool():
    spec = spec_from_file_location("prepare_data", ROOT / "tools" / "prepare_data.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def coco_content(name="a.png", **extra):
    image = {"id": 1, "file_name": name, "height": HEIGHT, "width": WIDTH, **extra}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [POLYGONS["cat"]]}
    return {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}]}


def refcoco(root):
    people_files.write_pictures(root / "images", "a.png")
    refs = [
        {"ref_id": n, "ann_id": 1, "image_id": 1, "split": split, "sentences": [{"sent": "a"}, {"sent": "b"}]}
        for n, split in enumerate(("train", "train", "val"))
    ]
    folder = root / "refcoco"
    write_json(folder / "instances.json", coco_content())
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs))
    return folder


def coco(root):
    people_files.write_pictures(root / "images", "a.png")
    return write_json(root / "annotations" / "val.json", coco_content())


def lvis(root):
    return people_files.lvis(root)


def grandf(root):
    people_files.write_pictures(root / "images", "a.png")
    groundings = {"a cat": {"token_positives": [0, 5], "rle_masks": [rle_of(people_files.CAT)]}}
    entry = {"file_name": "a.png", "height": HEIGHT, "width": WIDTH, "caption": "a cat", "groundings": groundings}
    return write_json(root / "strange_name.json", [{**entry, "image_id": "x"}])


def refcocog(root):
    people_files.write_pictures(root / "images", "a.png")
    refs = [{"sentence": "a cat", "segmentation": [POLYGONS["cat"]]}]
    return write_json(root / "g.json", [{"c1": {"img_file_name": "a.png", "caption": "a cat", "refs": refs}}])


def flickr(root):
    people_files.write_pictures(root / "images", "a.png")
    content = coco_content(caption="a cat here")
    mask = rle_of(people_files.CAT)
    content["annotations"] = [
        {"id": 1, "image_id": 1, "bbox": [1, 1, 9, 9], "area": 9, "tokens_positive": [[0, 5]], "sam_mask": mask}
    ]
    if min(HEIGHT, WIDTH) < 32:  # which the layout's reader leaves out
        content["images"][0] |= {"height": 2 * HEIGHT, "width": 2 * WIDTH}
    return write_json(root / "f.json", content)


def llava(root):
    people_files.write_pictures(root / "images", "a.png")
    turns = [{"from": "human", "value": "<image>\nIs it?"}, {"from": "gpt", "value": "Yes."}]
    return write_json(root / "l.json", [{"id": "1", "image": "a.png", "conversations": turns}])


def reasonseg(root):
    shapes = [{"label": "target", "points": [[1, 1], [9, 1], [9, 9]]}]
    people_files.write_pictures(root / "val", "a.jpg")
    write_json(root / "val" / "a.json", {"shapes": shapes, "text": ["a cat"], "is_sentence": False})
    return root


def parquet(root):
    return write_parquet(root / "val-00000-of-00001.parquet", hub_records())


def parquet_folder(root):
    people_files.write_pictures(root / "images", "a.png")
    write_parquet(root / "val-00000-of-00001.parquet", raw_records())
    write_parquet(root / "train-00000-of-00001.parquet", raw_records("train"))
    return root


def lines(root):
    people_files.write_pictures(root / "images", "a.png")
    span = {"start": 0, "end": 5, "segmentation": [POLYGONS["cat"]]}
    line = {"image": "images/a.png", "question": "What?", "answer": "A cat.", "spans": [span]}
    (root / "own.jsonl").write_text("\n".join([json.dumps(line)] * 2))
    return root / "own.jsonl"


CASES = [
    (refcoco, "refcoco", 2, 1, "val", "sentence", "ReferSegDataset"),
    (coco, "coco", 1, 1, None, None, "CocoPhraseDataset"),
    (lvis, "lvis", 2, 1, None, None, "CocoPhraseDataset"),
    (grandf, "gcg", 1, 1, None, None, "GCGDataset"),
    (refcocog, "gcg", 1, 1, None, None, "GCGDataset"),
    (flickr, "gcg", 1, 1, None, None, "GCGDataset"),
    (llava, "llava", 1, 1, None, None, "LlavaDataset"),
    (reasonseg, "reasonseg", 1, 1, "val", None, "ReasonSegDataset"),
    (people_files.sa2va, "sa2va", 3, 2, None, "sentence", "Sa2vaDataset"),
    (parquet, "parquet", 4, 1, None, "sentence", "ParquetPhraseDataset"),
    (parquet_folder, "parquet", 4, 1, "val", "sentence", "ParquetPhraseDataset"),
    (people_files.masks_csv, "csv", 2, 1, None, "phrase", "CsvMaskDataset"),
    (people_files.label_maps, "label_maps", 3, 2, None, "phrase", "LabelMapDataset"),
    (lines, "lines", 2, 1, None, None, "GroundedLinesDataset"),
]


@pytest.mark.parametrize(("write", "kind", "records", "images", "split", "per", "reader"), CASES)
def test_each_layout_is_told_and_its_recipe_reads_it(
    tmp_path, tool, capsys, write, kind, records, images, split, per, reader
):
    path, out = write(tmp_path), tmp_path / "out.json"
    assert tool.main(["look", str(path), "--json", str(out)]) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert (found["kind"], found["records"], found["images"]) == (kind, records, images)
    assert (found["split"], found["protocol"].get("per"), found["reader"]["type"]) == (split, per, reader)
    assert kind in KINDS and kind in said and all(line in said for line in found["recipe"])
    assert not [problem for problem in found["problems"] if "not all instances" not in problem]
    loaders = {name: SimpleNamespace(dataset=SimpleNamespace()) for name in ("test_dataloader", "train_dataloader")}
    exec("\n".join(found["recipe"]), loaders)
    for name in ("test_dataloader", "train_dataloader"):
        (config,) = loaders[name].dataset.datasets
        data = config.pop("type")(**config)
        assert {*data.image_paths} and data.get_record(0, np.random.default_rng(0)).image_path


def test_all_kinds_are_tried():
    assert {case[1] for case in CASES} == set(KINDS)


def test_names_of_lvis_become_phrases(tmp_path):
    found = look(people_files.lvis(tmp_path))
    config = dict(found.reader)
    data = getattr(lira_plugin.datasets, config.pop("type"))(**config)
    records = [data.get_record(index, None) for index in range(2)]
    assert [record.regions[0].phrase for record in records] == ["baseball bat", "bow (weapon)"]
    assert records[0].image_path == str(tmp_path / "val2017" / "a.png")
    assert data.protocol["names"] == "lvis"
    assert any("1 images have categories of which not all instances" in problem for problem in found.problems)


def test_a_file_with_addresses_alone_is_lvis_and_one_without_is_a_fault(tmp_path):
    path = people_files.lvis(tmp_path)
    content = json.loads((tmp_path / "annotations" / "lvis_v1_val.json").read_text())
    image = content["images"][0]
    del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    write_json(tmp_path / "annotations" / "lvis_v1_val.json", content)
    assert (look(path).kind, look(path).records, look(path).problems) == ("lvis", 2, ())
    for address in ("a.png", None, 3, "http://images.cocodataset.org/../a.png"):
        write_json(
            tmp_path / "annotations" / "lvis_v1_val.json", {**content, "images": [{**image, "coco_url": address}]}
        )
        assert any("lacks 'file_name'" in problem for problem in look(path).problems)


@pytest.mark.parametrize("change", ["images", "label", "sa2va", "parquet"])
def test_what_is_wrong_is_said(tmp_path, change):
    if change == "images":
        path = coco(tmp_path)
        (tmp_path / "images" / "a.png").unlink()
        expected = "1 of 1 images are not there"
    elif change == "label":
        path = people_files.label_maps(tmp_path)
        (tmp_path / "classes.txt").write_text("background\ncat\n")
        expected = "values of the label map have no name: [3]"
    elif change == "sa2va":
        path = people_files.sa2va(tmp_path)
        content = json.loads((tmp_path / "annotations.json").read_text())
        write_json(tmp_path / "annotations.json", [*content, {"image": "a.png", "mask": [], "text": ["x"]}])
        expected = "record 2 (position 2): 'mask' and 'text' are not of one length"
    else:
        path = write_parquet(tmp_path / "a.parquet", raw_records())
        expected = "no image folder"
    found = look(path)
    assert any(expected in problem for problem in found.problems), found.problems


def test_a_layout_that_lacks_something_is_told_all_the_same(tmp_path, tool):
    (tmp_path / "maps").mkdir()
    people_files.label_maps(tmp_path / "maps")
    (tmp_path / "maps" / "classes.txt").unlink()
    people_files.write_csv(tmp_path / "a.csv", [["image", "mask", "size"], ["a.png", "b.png", "3"]])
    write_parquet(tmp_path / "a.parquet", [{"image_path": "a.png", "words": "a", "mask": rle_of(people_files.CAT)}])
    for name, kind, expected in (
        ("maps", "label_maps", "no file of class names"),
        ("a.csv", "csv", "no column for ['phrase']"),
        ("a.parquet", "parquet", "no column for ['phrase']"),
    ):
        found = look(tmp_path / name)
        assert found.kind == kind and found.records == 0 and any(expected in problem for problem in found.problems)
        assert tool.main(["look", str(tmp_path / name)]) == 1


def test_looking_writes_nothing(tmp_path):
    path = parquet(tmp_path)
    look(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["val-00000-of-00001.parquet"]


def test_a_folder_with_several_files_names_the_others(tmp_path):
    coco(tmp_path)
    write_json(tmp_path / "annotations" / "train.json", coco_content())
    (tmp_path / "annotations" / "notes.json").write_text('{"about": "x"}')
    found = look(tmp_path / "annotations")
    assert found.reader["ann_file"].endswith("train.json") and not found.problems
    assert found.others == (str(tmp_path / "annotations" / "val.json"),)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UnknownLayout, match="a pipe"):
        look(tmp_path / "pipe.json")


def test_a_name_says_nothing(tmp_path):
    path = people_files.sa2va(tmp_path)
    (tmp_path / "annotations.json").rename(tmp_path / "instances.json")
    assert look(path.replace("annotations", "instances")).kind == "sa2va"
    table = write_parquet(tmp_path / "a.parquet", hub_records())
    (tmp_path / "a.parquet").rename(tmp_path / "a.json")
    assert look(table.replace(".parquet", ".json")).kind == "parquet"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"foo": 1, "bar": 2}]'),
        ("a.json", "{}"),
        ("a.json", "[]"),
        ("a.json", "[1, 2]"),
        ("a.txt", "hello\nworld"),
        ("a.csv", "a,b,c\n1,2,3\n"),
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n'),
        ("a.bin", "\x00\x01"),
        ("a.json", ""),
    ],
)
def test_an_unknown_layout_is_a_line(tmp_path, tool, name, content):
    (tmp_path / name).write_text(content)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UnknownLayout, match="no known layout") as caught:
            tool.main(["look", str(path)])
        said = str(caught.value)
        assert "\n" not in said and all(kind in said for kind in KINDS)


def test_what_is_not_there_or_broken(tmp_path, tool):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        tool.main(["look", str(tmp_path / "none")])
    (tmp_path / "a.json").write_text('[{"image": ')
    with pytest.raises(ValueError, match="not a JSON file"):
        tool.main(["look", str(tmp_path / "a.json")])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and more")
    with pytest.raises(ValueError, match="not a parquet file"):
        tool.main(["look", str(tmp_path / "b.parquet")])
