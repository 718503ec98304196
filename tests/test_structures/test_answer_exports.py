"""Answers for other tools, read back by pycocotools, by rules of LabelMe and Pillow, and by supervision."""

import base64
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage
from skimage import measure

from lira_plugin.structures import GroundedSpan, GroundedText
from lira_plugin.structures.answer_exports import ExportedImage, coco_file, labelme_file
from lira_plugin.structures.mask_shapes import mask_box, mask_boxes, outlines

SIZE = (40, 56)


def random_mask(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Blobs with holes, some at the border, some of one pixel."""
    noise = np.random.default_rng(seed).normal(size=size)
    mask = ndimage.gaussian_filter(noise, 2) > 0.05
    mask[0, 0] = mask[-1, -1] = True
    return mask


def answer_of(*masks: np.ndarray) -> GroundedText:
    names = ["cat", "dog", ""]
    spans, text = [], ""
    for index, mask in enumerate(masks):
        name = names[index % 3]
        spans.append(GroundedSpan(len(text), len(text) + len(name), name, mask, score=0.5 + index / 10))
        text += f"{name} "
    return GroundedText(text, tuple(spans))


def loaded(content: dict, folder) -> COCO:
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return COCO(path)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_those_of_scikit_image_and_outlines_hold_the_filled_mask(seed):
    mask = random_mask(seed)
    (region,) = measure.regionprops(mask.astype(np.uint8))
    top, left, bottom, right = region.bbox
    assert mask_box(mask) == (left, top, right, bottom)
    polygons = coco_mask.merge(coco_mask.frPyObjects([list(map(float, piece)) for piece in outlines(mask)], *SIZE))
    filled = ndimage.binary_fill_holes(mask)
    drawn = coco_mask.decode(polygons).astype(bool)
    assert (drawn & mask).sum() == mask.sum() and (drawn & ~filled).sum() <= 0.01 * mask.size


def test_an_empty_mask_has_no_box():
    empty = np.zeros(SIZE, bool)
    assert mask_box(empty) is None and outlines(empty) == []
    assert mask_boxes([empty, ~empty]).tolist() == [[0, 0, 0, 0], [0, 0, 56, 40]] and mask_boxes([]).shape == (0, 4)


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_loads_an_answer(tmp_path, polygons):
    masks = [random_mask(0), random_mask(1), np.zeros(SIZE, bool), random_mask(2)]
    if polygons:
        masks = [ndimage.binary_fill_holes(mask) for mask in masks]
    answer = answer_of(*masks)
    coco = loaded(answer.to_coco("a.jpg", polygons=polygons), tmp_path)
    assert coco.imgs == {1: {"id": 1, "file_name": "a.jpg", "height": 40, "width": 56}}
    assert [coco.cats[index]["name"] for index in coco.getCatIds()] == ["cat", "dog"]
    shown = [span for span in answer.spans if span.mask.any()]
    for annotation, span in zip(coco.loadAnns(coco.getAnnIds(imgIds=1)), shown, strict=True):
        assert (coco.annToMask(annotation) != span.mask).mean() < (0.02 if polygons else 1e-9)
        assert annotation["bbox"] == coco_mask.toBbox(span.rle).tolist() and annotation["area"] == span.mask.sum()
        assert annotation["score"] == span.score and coco.cats[annotation["category_id"]]["name"] == span.phrase
    assert len(coco.loadRes(list(coco.anns.values())).anns) == len(shown), "they are results, too"


def test_several_images_are_one_coco_file(tmp_path):
    one, two = answer_of(random_mask(0)), answer_of(random_mask(1, (20, 30)), random_mask(2, (20, 30)))
    images = [ExportedImage(one.spans, "a.jpg"), ExportedImage(two.spans, "b.jpg"), ExportedImage(one.spans, "a.jpg")]
    coco = loaded(coco_file([*images, ExportedImage((), "c.jpg", (5, 6))]), tmp_path)
    assert [len(coco.getAnnIds(imgIds=image)) for image in coco.getImgIds()] == [2, 2, 0]
    assert sorted(coco.anns) == [1, 2, 3, 4] and len(coco.cats) == 2
    with pytest.raises(ValueError, match=r"a\.jpg is 40x56 and 20x30"):
        coco_file([images[0], ExportedImage(two.spans, "a.jpg")])


def test_classes_are_those_that_are_given():
    answer = answer_of(random_mask(0), random_mask(1))
    content = answer.to_coco(classes=["bird", "dog", "cat"])
    assert [annotation["category_id"] for annotation in content["annotations"]] == [3, 2]
    assert [category["name"] for category in content["categories"]] == ["bird", "dog", "cat"]
    with pytest.raises(ValueError, match="no class is called 'dog'; classes has 'cat'"):
        answer.to_coco(classes=["cat"])


def test_without_a_mask_the_size_has_to_be_given():
    nothing = GroundedText("There is none.")
    for export in (nothing.to_coco, nothing.to_labelme):
        with pytest.raises(ValueError, match=r"a\.jpg: without a mask the size is unknown, so give size"):
            export("a.jpg")
        export("a.jpg", (4, 5))
    with pytest.raises(ValueError, match="must have one size"):
        answer_of(random_mask(0)).to_coco("a.jpg", (4, 5))


def check_labelme_shape(shape: dict) -> None:
    """What LabelMe asks of a shape that it loads."""
    assert isinstance(shape["label"], str) and shape["label"] and isinstance(shape["shape_type"], str)
    assert shape["points"] and all(
        isinstance(point, list) and len(point) == 2 and all(isinstance(value, int | float) for value in point)
        for point in shape["points"]
    )
    assert isinstance(shape["flags"], dict) and isinstance(shape["description"], str) and shape["mask"] is None
    assert shape["group_id"] is None or isinstance(shape["group_id"], int)


def test_labelme_finds_what_it_asks_for():
    """Pillow fills the polygons, as LabelMe's own export does; a group is one mask."""
    masks = [ndimage.binary_fill_holes(random_mask(seed)) for seed in range(3)]
    content = json.loads(json.dumps(answer_of(*masks).to_labelme("a.jpg")))
    assert {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"} == content.keys()
    assert (content["imagePath"], content["imageData"]) == ("a.jpg", None)
    assert (content["imageHeight"], content["imageWidth"]) == SIZE
    for index, (mask, label) in enumerate(zip(masks, ("cat", "dog", "object"))):
        canvas = Image.new("1", SIZE[::-1])
        pieces = [shape for shape in content["shapes"] if shape["label"] == label]
        assert {piece["group_id"] for piece in pieces} == {index} and len(pieces) > 1
        for piece in pieces:
            check_labelme_shape(piece)
            ImageDraw.Draw(canvas).polygon([tuple(point) for point in piece["points"]], fill=1)
        drawn = np.array(canvas)
        assert (drawn & mask).sum() == mask.sum(), "Pillow also fills the pixels that the outline touches"
        assert not (drawn & ~ndimage.binary_dilation(mask, np.ones((3, 3)))).any()


def test_a_labelme_file_can_hold_its_image():
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, "PNG")
    content = labelme_file(ExportedImage((), "a.png", (4, 5)), buffer.getvalue())
    with Image.open(io.BytesIO(base64.b64decode(content["imageData"]))) as image:
        assert image.size == (5, 4)


def test_supervision_takes_an_answer():
    supervision = pytest.importorskip("supervision")
    masks = [random_mask(0), random_mask(1), random_mask(2)]
    answer = answer_of(*masks)
    found = answer.to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == 3
    assert (found.mask == np.stack(masks)).all() and found.mask.dtype == bool
    inclusive = supervision.mask_to_xyxy(np.stack(masks))  # it names the last pixel, not the edge
    np.testing.assert_array_equal(found.xyxy, inclusive + np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(found.xyxy, answer.boxes)
    np.testing.assert_allclose(found.confidence, [0.5, 0.6, 0.7], rtol=1e-6)
    assert found.data["class_name"].tolist() == ["cat", "dog", "object"] and found.class_id.tolist() == [0, 1, 2]
    assert answer.to_supervision(["object", "dog", "cat"]).class_id.tolist() == [2, 1, 0]
    image = np.zeros((*SIZE, 3), np.uint8)
    assert supervision.MaskAnnotator().annotate(image.copy(), found).any()
    assert len(GroundedText("none").to_supervision()) == 0


def test_without_supervision_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="uv sync --extra supervision"):
        answer_of(random_mask(0)).to_supervision()


def test_a_repr_is_short():
    mask = np.zeros((480, 640), bool)
    mask[:3, :4] = True
    span = GroundedSpan(0, 3, "cat", mask, score=0.875)
    assert repr(span) == "GroundedSpan('cat', score 0.88, 12 pixels of 640 x 480)"
    assert repr(GroundedText("A cat.", (span,))) == "GroundedText('A cat.', masks: 'cat' 0.88)"
    assert repr(GroundedText("None.", finished=False)) == "GroundedText('None.', cut off)"
    assert len(repr(GroundedText("a cat " * 500, (span,) * 100))) < 200
    assert span.box == (0, 0, 4, 3) and span.polygons == outlines(mask)
