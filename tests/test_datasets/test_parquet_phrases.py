"""Parquet tables in the forms that are published, against the arrays that they were made of."""

import io
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.people_files import (
    CAT,
    CUP,
    POLYGONS,
    decoded,
    hub_records,
    picture,
    png_of,
    raw_records,
    rle_of,
    write_parquet,
)

from lira_plugin.datasets import DecodeRegions, LoadImage, ParquetPhraseDataset, parquet_images
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.mask_values import to_segmentation

MASKS = {"cat": CAT, "cup": CUP}


def records_of(data):
    return [data.get_record(index, np.random.default_rng(0)) for index in range(len(data))]


def check(records, phrases):
    assert [record.regions[0].phrase for record in records] == phrases
    for record in records:
        expected = MASKS["cat" if "cat" in record.regions[0].phrase else "cup"]
        assert np.array_equal(decoded(record.regions[0].segmentations), expected)


def test_a_table_with_images_and_answers(tmp_path):
    data = ParquetPhraseDataset(write_parquet(tmp_path / "val.parquet", hub_records()))
    check(records_of(data), ["the cat", "cat there", "the cup", "cup there"])
    assert data.protocol["per"] == "sentence" and (data.protocol["sentences"], data.protocol["objects"]) == (4, 2)
    assert [record.record_id for record in records_of(data)] == ["0-0", "0-1", "1-0", "1-1"]
    assert len(set(data.image_paths)) == 1, "two records hold one image, which is one file"


def test_images_are_files_of_the_same_bytes_and_written_once(tmp_path, monkeypatch):
    table = write_parquet(tmp_path / "val.parquet", hub_records())
    (path,) = set(ParquetPhraseDataset(table, image_cache=str(tmp_path / "cache")).image_paths)
    with open(path, "rb") as file:
        assert file.read() == picture() and path.startswith(str(tmp_path / "cache"))
    reads = []
    read = parquet_images._images
    monkeypatch.setattr(parquet_images, "_images", lambda *given: reads.append(given) or read(*given))
    ParquetPhraseDataset(table, image_cache=str(tmp_path / "cache"))
    assert not reads, "the images are not read again"
    os.remove(path)
    assert (
        os.path.isfile(ParquetPhraseDataset(table, image_cache=str(tmp_path / "cache")).image_paths[0])
        and len(reads) == 1
    )
    write_parquet(tmp_path / "val.parquet", [{**hub_records()[0], "image": {"bytes": picture(5), "path": None}}])
    (other,) = set(ParquetPhraseDataset(table, image_cache=str(tmp_path / "cache")).image_paths)
    assert other != path and len(reads) == 2


def test_several_readers_write_the_images_once(tmp_path, monkeypatch):
    records = [{**hub_records()[index % 2], "image": {"bytes": picture(index), "path": None}} for index in range(60)]
    table = write_parquet(tmp_path / "val.parquet", records)
    start, reads, read = Barrier(4), [], parquet_images._images

    def counted(table, column):
        reads.append(table)
        return read(table, column)

    def paths(_):
        start.wait()
        return parquet_images.extracted_images(table, "image", None)

    monkeypatch.setattr(parquet_images, "_images", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(paths, range(4)))
    assert len(reads) == 1 and found == [found[0]] * 4
    for index, path in enumerate(found[0]):
        with open(path, "rb") as file:
            assert file.read() == picture(index)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("length", [0, 100])
def test_an_image_that_is_cut_off_is_written_again(tmp_path, length):
    table = write_parquet(tmp_path / "val.parquet", hub_records())
    (path,) = set(ParquetPhraseDataset(table).image_paths)
    os.truncate(path, length)
    ParquetPhraseDataset(table)
    with open(path, "rb") as file:
        assert file.read() == picture()


def test_without_locks_images_are_written_as_well(tmp_path, monkeypatch):
    def no_locks(path):
        raise OSError("no locks here")

    monkeypatch.setattr(parquet_images, "locked", no_locks)
    assert len(ParquetPhraseDataset(write_parquet(tmp_path / "val.parquet", hub_records()))) == 4
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written to .*set image_cache"):
        ParquetPhraseDataset(str(tmp_path / "val.parquet"), image_cache=str(tmp_path / "file"))


def test_a_table_without_images_and_its_splits(tmp_path):
    table = write_parquet(tmp_path / "refs.parquet", [*raw_records("train"), *raw_records("val")])
    data = ParquetPhraseDataset(table, "coco", split="val")
    check(records_of(data), ["the cat 0", "the cat 1", "the cup 0", "the cup 1"])
    assert records_of(data)[0].image_path == "coco/a.png" and records_of(data)[0].size == CAT.shape
    assert records_of(data)[0].record_id == "2-0"
    assert len(ParquetPhraseDataset(table, "coco", num_expressions=3)) == 1
    with pytest.raises(ValueError, match=r"no record of split 'test'; its splits are \['train', 'val'\]"):
        ParquetPhraseDataset(table, "coco", split="test")
    with pytest.raises(ValueError, match="set image_root"):
        ParquetPhraseDataset(table)


def test_per_object_takes_the_first_sentence_and_the_protocol_says_so(tmp_path):
    table = write_parquet(tmp_path / "val.parquet", raw_records())
    data = ParquetPhraseDataset(table, "coco", per="object")
    check(records_of(data), ["the cat 0", "the cup 0"])
    assert data.protocol["per"] == "object"
    with pytest.raises(ValueError, match="per='object' is for evaluation"):
        ParquetPhraseDataset(table, "coco", per="object", num_expressions=3)


def sentences(*pairs):
    return [
        {"image": {"bytes": picture(), "path": None}, "text": text, "mask": MASKS[name].tolist()}
        for text, name in pairs
    ]


def test_a_sentence_a_record_is_told_from_an_object_a_record(tmp_path):
    """Exports come once per sentence (val_all) and once per object (val); their scores are not comparable."""
    per_sentence = sentences(("a cat", "cat"), ("the cat", "cat"), ("a cup", "cup"))
    data = ParquetPhraseDataset(write_parquet(tmp_path / "val_all.parquet", per_sentence))
    check(records_of(data), ["a cat", "the cat", "a cup"])
    assert data.protocol["per"] == "sentence" and data.protocol["objects"] == 2
    one = ParquetPhraseDataset(write_parquet(tmp_path / "val.parquet", per_sentence[1:]))
    assert one.protocol["per"] == "object" and len(one) == 2
    first = ParquetPhraseDataset(str(tmp_path / "val_all.parquet"), per="object")
    check(records_of(first), ["a cat", "a cup"])


@pytest.mark.parametrize(
    "masks",
    [
        [rle_of(CAT), rle_of(CUP)],
        [json.dumps(rle_of(CAT)), json.dumps(rle_of(CUP))],
        [CAT.astype(int).tolist(), CUP.astype(int).tolist()],
        [(CAT * 255).tolist(), (CUP * 255).tolist()],
        [CAT.astype(float).tolist(), CUP.astype(float).tolist()],
        [json.dumps((CAT * 255.0).tolist()), json.dumps((CUP * 255.0).tolist())],
        [[{"size": list(mask.shape), "counts": rle_of(mask)["counts"].encode()}] for mask in (CAT, CUP)],
        [CAT.tolist(), CUP.tolist()],
        [{"size": list(mask.shape), "counts": rle_of(mask)["counts"].encode()} for mask in (CAT, CUP)],
        [json.dumps([POLYGONS["cat"]]), json.dumps([POLYGONS["cup"]])],
        [[POLYGONS["cat"]], [POLYGONS["cup"]]],
        [png_of(mask.astype(np.uint8) * 255) for mask in (CAT, CUP)],
        [{"bytes": png_of(mask.astype(np.uint8)), "path": "m.png"} for mask in (CAT, CUP)],
        [[rle_of(CAT)], [rle_of(CUP)]],
        [[json.dumps(rle_of(CAT))], [json.dumps(rle_of(CUP))]],
    ],
    ids=[
        "rle",
        "json",
        "ones",
        "255",
        "floats",
        "255-json",
        "list-of-counts-bytes",
        "bools",
        "counts-bytes",
        "polygons-json",
        "polygons",
        "png",
        "png-struct",
        "list",
        "list-json",
    ],
)
def test_masks_of_all_forms(tmp_path, masks):
    records = [{"file_name": "a.png", "phrase": f"a {name}", "mask": mask} for name, mask in zip(MASKS, masks)]
    check(records_of(ParquetPhraseDataset(write_parquet(tmp_path / "a.parquet", records), "x")), ["a cat", "a cup"])


def test_images_of_tables_go_through_the_transforms(tmp_path):
    data = ParquetPhraseDataset(
        write_parquet(tmp_path / "val.parquet", hub_records()), pipeline=[LoadImage(), DecodeRegions()]
    )
    results = pickle.loads(pickle.dumps(data))[2]
    assert np.array_equal(results["image"], np.asarray(Image.open(io.BytesIO(picture()))))
    assert np.array_equal(results["masks"][0], CUP)


def test_an_image_with_a_list_of_objects(tmp_path):
    samples = [{"id": n, "sentences": [f"a {n}", f"the {n}"], "mask": rle_of(m)} for n, m in MASKS.items()]
    table = write_parquet(tmp_path / "a.parquet", [{"image": {"bytes": picture(), "path": "a"}, "samples": samples}])
    data = ParquetPhraseDataset(table)
    check(records_of(data), ["a cat", "the cat", "a cup", "the cup"])
    assert [record.record_id for record in records_of(data)] == ["0-0-0", "0-0-1", "0-1-0", "0-1-1"]


def test_a_folder_of_shards_and_small_groups(tmp_path):
    write_parquet(tmp_path / "data" / "val-00000-of-00002.parquet", raw_records(), row_group_size=1)
    write_parquet(tmp_path / "data" / "val-00001-of-00002.parquet", raw_records())
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", raw_records())
    data = ParquetPhraseDataset(str(tmp_path), "coco", split="val")
    assert len(data) == 8 and len({record.record_id for record in records_of(data)}) == 8
    assert [os.path.basename(path)[:9] for path in data.protocol["files"]] == ["val-00000", "val-00001"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mask", None, "there is no mask"),
        ("mask", "x", "neither a PNG nor JSON"),
        ("mask", '{"size": [1]}', "no form that is read"),
        ("mask", '"x"', "a text in a text"),
        ("phrase", None, "must hold texts"),
        ("file_name", None, "names no image"),
        ("file_name", " ", "names no image"),
    ],
)
def test_a_bad_record_is_named_or_left_out(tmp_path, key, value, said):
    sound = {"file_name": "a.png", "phrase": "a cat", "mask": json.dumps(rle_of(CAT))}
    table = write_parquet(tmp_path / "a.parquet", [sound, {**sound, key: value}])
    with pytest.raises(ValueError, match=rf"a\.parquet: record 1: .*{said}"):
        ParquetPhraseDataset(table, "x")
    data = ParquetPhraseDataset(table, "x", on_bad_record="skip")
    assert len(data) == 1 and [finding.record for finding in data.findings] == ["1"]


def test_bytes_that_are_missing_and_tables_that_are_cut_off(tmp_path):
    spoilt = [hub_records()[0], {**hub_records()[1], "image": {"bytes": None, "path": "a.png"}}]
    with pytest.raises(ValueError, match=r"record 1: it holds no image: 'image' has no bytes"):
        ParquetPhraseDataset(write_parquet(tmp_path / "a.parquet", spoilt))
    content = (tmp_path / "a.parquet").read_bytes()
    for name, part in (("b", content[:-40]), ("c", b""), ("d", b"PAR1" + content[100:])):
        (tmp_path / f"{name}.parquet").write_bytes(part)
        with pytest.raises(ValueError, match=rf"{name}\.parquet"):
            ParquetPhraseDataset(str(tmp_path / f"{name}.parquet"))
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        ParquetPhraseDataset(str(tmp_path / "none"))


def test_columns_are_asked_for_where_they_are_not_told(tmp_path):
    record = {"file_name": "a.png", "what": "a cat", "where": json.dumps(rle_of(CAT))}
    table = write_parquet(tmp_path / "a.parquet", [record])
    with pytest.raises(ValueError, match=r"no column for \['phrase', 'mask'\].*columns="):
        ParquetPhraseDataset(table, "x")
    check(records_of(ParquetPhraseDataset(table, "x", columns={"phrase": "what", "mask": "where"})), ["a cat"])
    with pytest.raises(ValueError, match="roles"):
        ParquetPhraseDataset(table, "x", columns={"text": "what"})
    with pytest.raises(ValueError, match=r"no column for \['mask'\]"):
        ParquetPhraseDataset(table, "x", columns={"phrase": "what", "mask": "elsewhere"})


@pytest.mark.parametrize(
    "mask",
    [
        CAT.astype(int).ravel().tolist(),
        CAT.ravel().tolist(),
        (CAT * 255).ravel().tolist(),
        [(CAT * 255).ravel().tolist()],
        (CAT * 0.7).tolist(),
        (CAT * 128).tolist(),
        (CAT * 1 + CUP * 2).tolist(),
        [[0.1, 0.2, 0.5, 0.2, 0.5, 0.6]],
        [[0, 255] * 8, [0, 255] * 7],
    ],
)
def test_lists_that_are_no_polygons_in_pixels_are_refused(mask):
    for value in (mask, json.dumps(mask)):
        with pytest.raises(BadRecord, match="neither polygons in pixels nor lines of pixels"):
            to_segmentation(value)


@pytest.mark.parametrize(
    "polygons",
    [
        [POLYGONS["cat"]],
        POLYGONS["cat"],
        [[0, 0, 255, 0, 255, 255, 0, 255]],
        [[0, 0, 255, 0, 255, 255, 0, 255, 0, 0]],
        [[0, 0, 0, 5, 5, 0], [9, 9, 12, 9, 12, 12]],
        [[0, 0, 0, 0, 0, 0]],
        [[0.0, 0.5, 31.5, 0.5, 31.5, 23.0]] * 3,
    ],
)
def test_polygons_are_not_taken_for_pixels(polygons):
    assert to_segmentation(polygons) == polygons


def test_an_object_that_is_null_is_a_bad_record(tmp_path):
    sample = {"sentence": "cat", "mask": json.dumps(rle_of(CAT))}
    image = {"bytes": picture(), "path": None}
    table = write_parquet(
        tmp_path / "a.parquet", [{"image": image, "samples": [sample, None]}, {"image": image, "samples": [sample]}]
    )
    with pytest.raises(ValueError, match="record 0: entry 1 of 'samples' must be an object: got None"):
        ParquetPhraseDataset(table)
    assert [record.record_id for record in records_of(ParquetPhraseDataset(table, on_bad_record="skip"))] == ["1-0-0"]


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = str(tmp_path / "a.parquet")
    masks, names = [json.dumps(rle_of(CAT))], ["a.png"]
    pq.write_table(pa.table([["cat"], ["dog"], masks, names], ["sentence", "sentence", "mask", "image_path"]), path)
    with pytest.raises(ValueError, match=r"a\.parquet has several columns \['sentence'\]"):
        ParquetPhraseDataset(path, "x")
    twice = pa.StructArray.from_arrays(
        [pa.array(["cat"]), pa.array(["dog"]), pa.array(masks)], ["text", "text", "mask"]
    )
    pq.write_table(pa.table([pa.ListArray.from_arrays([0, 1], twice), names], ["samples", "image_path"]), path)
    with pytest.raises(ValueError, match=r"a\.parquet has several fields of 'samples' \['text'\]"):
        ParquetPhraseDataset(path, "x")
    image = pa.StructArray.from_arrays([pa.array([picture()]), pa.array([picture()])], ["bytes", "bytes"])
    pq.write_table(pa.table([["cat"], masks, image], ["sentence", "mask", "image"]), path)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        ParquetPhraseDataset(path)


def test_images_as_texts_are_no_images(tmp_path):
    record = {"sentence": "cat", "mask": json.dumps(rle_of(CAT)), "image": {"bytes": "iVBOR", "path": None}}
    with pytest.raises(ValueError, match=r"no column for \['image'\]"):
        ParquetPhraseDataset(write_parquet(tmp_path / "a.parquet", [record]))
