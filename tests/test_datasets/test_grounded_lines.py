import json

import cv2
import numpy as np
import pytest

from lira_plugin.datasets import GroundedLinesDataset
from lira_plugin.datasets.mask_file import mask_file_rle, read_mask_file
from lira_plugin.structures import decode_union

SQUARE = [[1, 1, 5, 1, 5, 4, 1, 4]]


def build(tmp_path, lines, **settings):
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return GroundedLinesDataset(str(path), pipeline=[lambda results: results], **settings)


def line(answer="A cup on a table.", spans=(), **more):
    return {"image": "a.jpg", "question": "What is here?", "answer": answer, "spans": list(spans), **more}


def drawn_mask(path, channels=1, value=255):
    mask = np.zeros((6, 8), bool)
    mask[2:5, 3:7] = True
    pixels = np.zeros((6, 8, channels), np.uint8)
    pixels[mask] = value
    cv2.imwrite(str(path), pixels)
    return mask


def test_spans_by_characters_and_by_phrase_with_masks_of_all_forms(tmp_path):
    (tmp_path / "masks").mkdir()
    mask = drawn_mask(tmp_path / "masks" / "7.png")
    spans = [
        {"phrase": "a table", "mask": "masks/7.png"},
        {"start": 0, "end": 5, "segmentation": SQUARE},
    ]
    record = build(tmp_path, [line(spans=spans, id="x")])[0]["record"]
    assert (record.record_id, record.image_path) == ("x", str(tmp_path / "a.jpg"))
    (turn,) = record.conversation.turns
    assert (turn.question, turn.answer) == ("What is here?", "A cup on a table.")
    assert [turn.answer[span.start : span.end] for span in turn.spans] == ["A cup", "a table"]
    assert [region.phrase for region in record.regions] == ["A cup", "a table"]
    found = [decode_union(region.segmentations, 6, 8) for region in record.regions]
    square = np.zeros((6, 8), bool)
    square[1:4, 1:5] = True
    assert (found[0] == square).all() and (found[1] == mask).all()


def test_questions_alone_and_text_alone(tmp_path):
    data = build(tmp_path, [line(), "", {"question": "1+1?", "answer": "2"}], image_root="pictures")
    assert [data[index]["record"].image_path for index in range(2)] == ["pictures/a.jpg", None]
    assert [data[index]["record"].record_id for index in range(2)] == ["1", "3"]
    assert data[0]["record"].regions == ()


def test_a_phrase_that_occurs_twice_takes_two_occurrences(tmp_path):
    spans = [{"phrase": "a dog", "segmentation": SQUARE}, {"phrase": "a dog", "segmentation": SQUARE}]
    (turn,) = build(tmp_path, [line("a dog and a dog", spans)])[0]["record"].conversation.turns
    assert [(span.start, span.end) for span in turn.spans] == [(0, 5), (10, 15)]


def test_phrases_that_cannot_be_used_are_left_out_and_named(tmp_path):
    empty = {"size": [6, 8], "counts": [48]}
    spans = [
        {"phrase": "a lamp", "segmentation": SQUARE},
        {"phrase": "cup", "segmentation": SQUARE},
        {"start": 0, "end": 5, "segmentation": SQUARE},
        {"phrase": "a table", "segmentation": empty},
    ]
    data = build(tmp_path, [line(spans=spans)])
    assert [region.phrase for region in data[0]["record"].regions] == ["A cup"]
    found = " ".join(finding.message for finding in data.findings)
    assert len(data.findings) == 3
    assert "'a lamp'" in found and "'cup'" in found and "'a table'" in found


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{nonsense", "line 2: the record cannot be read"),
        ({"image": "a.jpg", "answer": "x"}, "line 2: it lacks 'question'"),
        (line(more=1), "the key 'more' is none of this format"),
        (line(spans=[{"phrase": "A cup"}]), "either 'segmentation' or 'mask'"),
        (line(spans=[{"start": 0, "segmentation": SQUARE}]), "either 'phrase', or 'start' and 'end'"),
        (line(spans=[{"start": 0, "end": 99, "segmentation": SQUARE}]), "leaves the caption"),
        (
            line(
                spans=[{"start": 0, "end": 5, "segmentation": SQUARE}, {"start": 2, "end": 8, "segmentation": SQUARE}]
            ),
            "two spans cross",
        ),
        (line(spans=[{"phrase": "A cup", "mask": "gone.png"}]), "there is no such mask: .*gone.png.*mask_root"),
        (line(spans=[{"phrase": "A cup", "segmentation": "yes"}]), "must be polygons"),
        ({"question": "q", "answer": "A cup", "spans": [{"phrase": "A cup", "segmentation": SQUARE}]}, "but no image"),
    ],
)
def test_a_bad_line_is_named_or_left_out(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, [line(), bad])
    data = build(tmp_path, [line(), bad], on_bad_record="skip")
    assert len(data) == 1 and len(data.findings) == 1


def test_a_mask_that_cannot_be_read_is_named_with_its_record(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    data = build(tmp_path, [line(spans=[{"phrase": "A cup", "mask": "broken.png"}], id="x7")])
    with pytest.raises(ValueError, match=r"own record x7: the mask .*broken\.png cannot be read"):
        data[0]


@pytest.mark.parametrize(
    ("channels", "value"), [(1, 1), (1, 255), (3, (0, 0, 9)), (4, (255, 255, 255, 255)), (4, (0, 0, 0, 255))]
)
def test_masks_of_every_kind_of_picture(tmp_path, channels, value):
    mask = drawn_mask(tmp_path / "mask.png", channels, value)
    found = read_mask_file(tmp_path / "mask.png")
    assert found.dtype == bool and (found == mask).all()
    assert (decode_union([mask_file_rle(tmp_path / "mask.png")], 6, 8) == mask).all()


def test_a_mask_with_a_palette_of_16_bits_and_of_a_lossy_format(tmp_path):
    from PIL import Image

    mask = drawn_mask(tmp_path / "mask.png")
    palette = Image.fromarray(mask.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(mask.astype(np.uint16) * 300).save(tmp_path / "deep.png")
    for name in ("palette.png", "deep.png"):
        assert (read_mask_file(tmp_path / name) == mask).all()
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.jpg")
    with pytest.raises(ValueError, match="save masks as PNG"):
        read_mask_file(tmp_path / "mask.jpg")
    with pytest.raises(FileNotFoundError, match="there is no mask"):
        read_mask_file(tmp_path / "gone.png")
