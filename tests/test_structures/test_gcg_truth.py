"""The pair of COCO files that grounded captions are compared with."""

import json

import pytest

from lira_plugin.structures import read_gcg_truth

SKY, DOG = ({"size": [4, 6], "counts": [index, 3, 21 - index]} for index in (1, 2))


def content() -> tuple[dict, dict]:
    images = [
        {"id": "sa_9", "height": 4, "width": 6, "file_name": "nine.png"},
        {"id": "sa_10", "height": 4, "width": 6},
    ]
    masks = [
        {"id": 5, "image_id": "sa_9", "segmentation": SKY},
        {"id": 2, "image_id": "sa_9", "segmentation": DOG, "iscrowd": 1},
    ]
    captions = [
        {"id": 1, "image_id": "sa_9", "caption": "Sky, dog.", "labels": ["sky", "dog"]},
        {"id": 2, "image_id": "sa_9", "caption": "Other.", "labels": []},
    ]
    return {"images": images, "annotations": masks}, {"images": images[:1], "annotations": captions}


def read(folder, masks, captions):
    (folder / "val_gcg_coco_mask_gt.json").write_text(json.dumps(masks))
    (folder / "val_gcg_coco_caption_gt.json").write_text(json.dumps(captions))
    return read_gcg_truth(str(folder), "val")


def test_images_are_in_the_order_of_their_ids_and_masks_in_that_of_the_file(tmp_path):
    truths = read(tmp_path, *content())
    assert list(truths) == ["sa_10", "sa_9"]
    nine, ten = truths["sa_9"], truths["sa_10"]
    assert (nine.file_name, nine.size, nine.captions) == ("nine.png", (4, 6), ("Sky, dog.", "Other."))
    assert (nine.phrases, nine.segmentations) == (("sky", "dog"), (SKY, DOG))
    assert (nine.annotation_ids, nine.is_crowd, nine.is_described) == ((5, 2), (False, True), True)
    assert (ten.file_name, ten.captions, ten.phrases, ten.segmentations) == ("sa_10.jpg", (), (), ())
    assert not ten.is_described


@pytest.mark.parametrize(
    ("part", "path", "value", "message"),
    [
        (0, ("annotations", 0, "image_id"), "sa_1", "annotation 5 names image 'sa_1', which is not among"),
        (0, ("annotations", 0, "id"), "5", "'id' of an annotation of image 'sa_9' must be whole, got '5'"),
        (0, ("images", 1, "id"), "sa_9", "image 'sa_9' occurs twice"),
        (0, ("images", 1, "id"), None, "'id' must be a text or a whole number, got None"),
        (0, ("images", 1, "width"), 6.5, "has height 4 and width 6.5"),
        (0, ("images",), 7, "is not a COCO file"),
        (0, ("annotations", 0), 7, "is not a COCO file"),
        (1, ("annotations", 0, "labels"), "sky", "'labels' of annotation 1 must be a list of texts, got 'sky'"),
        (1, ("annotations", 0, "labels"), [None], "'labels' of annotation 1 must be a list of texts"),
        (1, ("annotations", 1, "caption"), 3, "'caption' of annotation 2 must be a text, got 3"),
    ],
)
def test_broken_files_are_named(part, path, value, message, tmp_path):
    files = content()
    *way, last = path
    entry = files[part]
    for key in way:
        entry = entry[key]
    entry[last] = value
    name = ("mask", "caption")[part]
    with pytest.raises(ValueError, match=f"val_gcg_coco_{name}_gt.json.*{message}"):
        read(tmp_path, *files)


def test_what_is_missing_is_named(tmp_path):
    masks, captions = content()
    with pytest.raises(FileNotFoundError, match="there is no .*val_gcg_coco_mask_gt.json"):
        read_gcg_truth(tmp_path, "val")
    del captions["annotations"][0]["labels"]
    with pytest.raises(ValueError, match="annotation 1 of image 'sa_9' lacks 'labels'"):
        read(tmp_path, masks, captions)
    with pytest.raises(ValueError, match="list no image"):
        read(tmp_path, {"images": [], "annotations": []}, {"images": [], "annotations": []})
