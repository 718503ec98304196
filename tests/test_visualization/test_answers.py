"""Answers as pictures: one row of a figure, the figures of many questions, and MMEngine's visualizer."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import VISBACKENDS, VISUALIZERS
from mmengine.visualization import LocalVisBackend, Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend
from PIL import Image

from lira_plugin.datasets.question_files import ImageQuestion
from lira_plugin.structures import GroundedSpan, GroundedText, Region, encode_mask
from lira_plugin.visualization import (
    GroundingVisualizer,
    answer_row,
    caption_height,
    draw_panels,
    fonts,
    label_masks,
    palette,
    write_caption,
)

pytestmark = pytest.mark.slow

SIZES = [(64, 96), (96, 96), (40, 600), (600, 40), (480, 640), (3000, 4000), (1, 1)]


def grey(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def stripe(height: int, width: int, index: int, count: int) -> np.ndarray:
    """The ``index``-th of ``count`` vertical stripes."""
    mask = np.zeros((height, width), bool)
    mask[:, index * width // count : max((index + 1) * width // count, index * width // count + 1)] = True
    return mask


def answer(height: int, width: int, count: int = 2, coarse: bool = True) -> GroundedText:
    phrases = [f"thing {index}" for index in range(count)]
    text, spans = "I see ", []
    for index, phrase in enumerate(phrases):
        start, text = len(text), f"{text}{phrase}, "
        mask = stripe(height, width, index, count)
        spans.append(GroundedSpan(start, start + len(phrase), phrase, mask, mask[:, ::-1] if coarse else None, 0.9))
    return GroundedText(text.rstrip(", ") + ".", tuple(spans))


def region(mask: np.ndarray, phrase: str = "it") -> Region:
    return Region(phrase, (encode_mask(mask),) if mask.any() else ())


def has_color(image: np.ndarray, color) -> bool:
    return bool((image == np.array(color)).all(-1).any())


def test_a_phrase_has_the_colour_of_its_mask_in_every_picture():
    row = answer_row(grey(20, 30), answer(20, 30, 3), draw_coarse=True, draw_image=True)
    assert [cell.name for cell in row.cells] == ["image", "coarse masks", "refined masks"]
    assert [row.caption[start:end] for start, end in row.spans] == ["thing 0", "thing 1", "thing 2"]
    assert row.colors == palette(3) == row.cells[1].colors == row.cells[2].colors
    given = answer(20, 30, 3)
    for cell, stage in zip(row.cells[1:], ("coarse", "refined")):
        assert all(np.array_equal(mask, span.mask_of(stage)) for mask, span in zip(cell.masks, given.spans))


def test_ground_truth_has_the_colour_of_the_span_that_overlaps_it_and_scores():
    given = answer(20, 40, 4)
    truth = [given.spans[2].mask, np.zeros((20, 40), bool), given.spans[0].mask]
    truth[0] = truth[0] & (np.arange(20) < 10)[:, None]
    row = answer_row(grey(20, 40), given, regions=[region(mask) for mask in truth], draw_coarse=True)
    assert [cell.name for cell in row.cells] == ["ground truth", "coarse masks, IoU 0.50", "refined masks, IoU 0.50"]
    colors = palette(5)
    assert row.cells[0].colors == [colors[2], colors[4], colors[0]]


def test_one_expression_and_its_answer_share_a_colour_though_they_do_not_overlap():
    given = answer(8, 8, 1, coarse=False)
    miss = GroundedText("it", (GroundedSpan(0, 2, "it", stripe(8, 8, 0, 2)),))
    row = answer_row(grey(8, 8), miss, regions=[region(stripe(8, 8, 1, 2))])
    assert row.cells[0].colors == row.cells[1].colors and row.cells[1].name == "mask, IoU 0.00"
    assert [cell.name for cell in answer_row(grey(8, 8), given, draw_coarse=True).cells] == ["mask"], "one stage only"


def test_no_target_and_no_answer():
    row = answer_row(grey(8, 8), GroundedText("There is none."), regions=[region(np.zeros((8, 8), bool))])
    assert [cell.name for cell in row.cells] == ["ground truth: no target", "no mask, IoU 1.00"]
    row = answer_row(grey(8, 8), GroundedText("", finished=False))
    assert [cell.name for cell in row.cells] == ["image"] and row.caption == "(empty answer)…"


def test_an_annotation_without_a_pixel_is_no_no_target():
    empty = Region("it", (encode_mask(np.zeros((8, 8), bool)),))
    row = answer_row(grey(8, 8), GroundedText("There is none."), regions=[empty])
    assert [cell.name for cell in row.cells] == ["ground truth: no pixel", "no mask, IoU 0.00"]


def test_a_seg_without_phrase_is_a_coloured_square_at_its_place():
    mask = stripe(8, 8, 0, 2)
    spans = (GroundedSpan(6, 6, "", mask), GroundedSpan(11, 14, "cat", mask))
    row = answer_row(grey(8, 8), GroundedText("It is , a   cat.", spans))
    assert row.caption == "It is ■, a   cat."
    assert [row.caption[start:end] for start, end in row.spans] == ["■", " ca"]


def test_many_spans_are_numbered_on_mask_and_phrase():
    few, many = answer_row(grey(20, 99), answer(20, 99, 9)), answer_row(grey(20, 99), answer(20, 99, 12))
    assert few.cells[0].labels == [] and "[" not in few.caption
    assert many.cells[0].labels == [str(number) for number in range(1, 13)]
    assert [many.caption[start:end] for start, end in many.spans] == [f"thing {n} [{n + 1}]" for n in range(12)]


def test_labels_stand_inside_their_masks():
    mask = np.zeros((100, 200), bool)
    mask[20:60, 120:180] = True
    before = grey(100, 200)
    drawn = label_masks(before, [mask, np.zeros_like(mask)], ["7", "8"], [(200, 0, 0), (0, 200, 0)])
    changed = (drawn != before).any(-1)
    assert changed.any() and not (changed & ~mask).any() and has_color(drawn, (200, 0, 0))
    assert not has_color(drawn, (0, 200, 0)), "an empty mask has no label"
    rows, columns = np.nonzero(changed)
    assert abs(rows.mean() - 39.5) < 3 and 130 < columns.mean() < 170
    tiny = label_masks(grey(4, 4), [np.ones((4, 4), bool)], ["12"])
    assert tiny.shape == (4, 4, 3)
    with pytest.raises(ValueError, match="1 labels for 2 masks"):
        label_masks(before, [mask, mask], ["7"])


@pytest.mark.parametrize("shape", SIZES)
def test_pictures_of_any_size_are_within_bounds_and_show_every_colour(shape):
    given = answer(*shape)
    drawn = GroundingVisualizer().draw(grey(*shape), given, [region(given.spans[0].mask)], "What?", draw_coarse=True)
    assert drawn.dtype == np.uint8 and 200 <= drawn.shape[1] <= 3 * 640 + 100 and drawn.shape[0] <= 1200
    assert all(has_color(drawn, color) for color in palette(2))


def test_letters_and_lines_grow_with_a_picture_that_keeps_its_size():
    def first_ink(image):
        rows = np.flatnonzero((image < 200).any((1, 2)))
        return rows[np.flatnonzero(np.diff(rows) > 1)[0]] - rows[0] + 1  # height of the first line, the question

    small, large = (
        GroundingVisualizer(max_side=None).draw(grey(size, size), answer(size, size), question="HHHH")
        for size in (320, 3200)
    )
    assert first_ink(large) / first_ink(small) == pytest.approx(3200 / 45 / 14, rel=0.15)
    assert large.shape[1] >= 3200


def test_limits_of_the_size_are_checked():
    with pytest.raises(ValueError, match="min_side"):
        GroundingVisualizer(min_side=500, max_side=400)
    with pytest.raises(ValueError, match="min_side"):
        GroundingVisualizer(min_side=20)


@VISBACKENDS.register_module()
class RememberingBackend(BaseVisBackend):
    """A backend of a user's own."""

    def __init__(self, save_dir=None):
        super().__init__("nowhere")
        self.images = []

    experiment = None

    def _init_env(self):
        pass

    def add_image(self, name, image, step=0, **kwargs):
        self.images.append((name, image, step))


def test_every_backend_gets_the_picture(tmp_path, monkeypatch):
    for kind in (Visualizer, GroundingVisualizer):  # which remember what is built, for the whole process
        monkeypatch.setattr(kind, "_instance_dict", kind._instance_dict.copy())
    visualizer = VISUALIZERS.build(
        {
            "type": "lira_plugin.GroundingVisualizer",
            "name": str(tmp_path),
            "save_dir": str(tmp_path),
            "vis_backends": [{"type": "RememberingBackend"}, {"type": LocalVisBackend}],
        }
    )
    visualizer.add_datasample("val/picture", grey(64, 96), answer(64, 96), step=7)
    ((name, image, step),) = visualizer.get_backend("RememberingBackend").images
    assert (name, step) == ("val/picture", 7)
    np.testing.assert_array_equal(image, visualizer.draw(grey(64, 96), answer(64, 96)))
    written = cv2.imread(str(tmp_path / "vis_data" / "vis_image" / "val_picture_7.png"))
    np.testing.assert_array_equal(written[:, :, ::-1], image)


def test_tensorboard_gets_the_picture(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    visualizer = GroundingVisualizer(vis_backends=[{"type": "TensorboardVisBackend"}], save_dir=str(tmp_path))
    visualizer.add_datasample("val/picture", grey(64, 96), answer(64, 96), step=7)
    visualizer.close()
    events = EventAccumulator(str(tmp_path / "vis_data")).Reload()
    (event,) = events.Images("val/picture")
    expected = visualizer.draw(grey(64, 96), answer(64, 96))
    assert event.step == 7 and (event.height, event.width) == expected.shape[:2]


def test_a_file_instead_of_the_backends(tmp_path):
    visualizer = GroundingVisualizer(vis_backends=[LocalVisBackend(str(tmp_path))])
    visualizer.add_datasample("x", grey(64, 96), answer(64, 96), out_file=str(tmp_path / "a" / "b.png"))
    assert (tmp_path / "a" / "b.png").is_file() and not list(tmp_path.rglob("x*"))


def test_settings_hold_for_all_pictures_and_can_be_changed_for_one():
    given, truth = answer(64, 96), [region(stripe(64, 96, 0, 2))]
    plain = GroundingVisualizer(draw_gt=False)
    rich = GroundingVisualizer(draw_image=True, draw_coarse=True)
    image = grey(64, 96)
    np.testing.assert_array_equal(plain.draw(image, given, truth), plain.draw(image, given))
    np.testing.assert_array_equal(
        plain.draw(image, given, truth, draw_gt=True, draw_coarse=True, draw_image=True),
        rich.draw(image, given, truth),
    )
    assert rich.draw(image, given, truth).size > 2 * plain.draw(image, given, truth).size


def test_a_mask_of_another_size_is_named():
    with pytest.raises(ValueError, match="mask 0 of cell"):
        GroundingVisualizer().draw(grey(64, 96), answer(64, 90))


def test_panels_ask_in_batches_and_show_every_answer(tmp_path):
    asked = []

    def ask(images, questions):
        asked.append(list(zip(images, questions)))
        return [answer(*np.asarray(Image.open(path)).shape[:2], coarse=False) for path in images]

    questions = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(grey(40 + 10 * number, 60, 40 * number)).save(path)
        questions.append(ImageQuestion(str(path), f"Question {number}?", "GCG"))
    figure = draw_panels(ask, questions, batch_size=2)
    assert [len(batch) for batch in asked] == [2, 2, 1]
    assert [pair for batch in asked for pair in batch] == [(item.image, item.question) for item in questions]
    assert all(has_color(figure, (40 * number,) * 3) for number in range(5))
    with pytest.raises(ValueError, match="at least one row"):
        draw_panels(ask, [])
    before = [GroundedText("Nothing.")] * 5
    assert draw_panels(ask, questions, before=before).size > figure.size, "two rows a question"
    with pytest.raises(ValueError, match="4 answers before for 5 questions"):
        draw_panels(ask, questions, before=before[:4])


def test_a_rotated_photograph_is_drawn_upright(tmp_path):
    pixels = grey(30, 60)
    pixels[:, :20] = (200, 30, 30)
    image = Image.fromarray(pixels)
    image.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    exif = image.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    image.save(tmp_path / "rotated.png", exif=exif)

    def draw(name):
        return draw_panels(lambda images, questions: [answer(60, 30)], [ImageQuestion(str(tmp_path / name), "?")])

    assert np.array_equal(draw("rotated.png"), draw("upright.png"))


def ink(text: str, **settings) -> np.ndarray:
    canvas = grey(caption_height(text, 300), 300, 255)
    write_caption(canvas, text, **settings)
    return canvas


@pytest.mark.parametrize("word", ["красный", "κύκλος", "дом", "é", "ñandú"])
def test_other_alphabets_are_not_drawn_as_boxes(word):
    glyphs = {ink(letter).tobytes() for letter in word}
    assert len(glyphs) == len(set(word)) and ink("\uffff").tobytes() not in glyphs


def test_a_script_that_no_font_has_is_told_once(caplog, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: ())
    monkeypatch.setattr(fonts, "_warned", set())
    fonts._find_font.cache_clear()
    told = []
    monkeypatch.setattr(fonts, "print_log", lambda message, level, **_: told.append((level, message)))
    for text in ("中文", "文字", "中"):
        ink(text)
    fonts._find_font.cache_clear()
    ((level, message),) = told
    assert level == logging.WARNING and "CJK" in message and "font" in message


def test_an_installed_font_serves_where_the_first_lacks_a_character(monkeypatch):
    folder = Path(fonts.DEFAULT_FONT).parent
    first, other = str(folder / "cmr10.ttf"), fonts.DEFAULT_FONT  # Computer Modern has no Cyrillic
    pieces = list(fonts.TextFont(16, first).pieces("ab жд, cd"))
    assert [piece.text for piece in pieces] == ["ab ", "жд", ", cd"]
    assert [piece.font.path for piece in pieces] == [first, other, first]
    with pytest.raises(OSError):
        fonts.TextFont(16, "no/such/font.ttf")


def test_chinese_breaks_between_characters_but_not_before_a_stop():
    text = "中" * 10 + "。"
    one = fonts.load_font(16).length("中")
    assert caption_height(text, round(10.5 * one)) == 2 * caption_height("中", 300)
    canvas = grey(caption_height(text, round(10.5 * one)), 300, 255)
    write_caption(canvas, text, [(9, 11)], [(200, 0, 0)], width=round(10.5 * one))
    upper, lower = canvas[: len(canvas) // 2], canvas[len(canvas) // 2 :]
    assert not has_color(upper, (200, 0, 0)) and has_color(lower, (200, 0, 0)), "the stop takes a character along"


def test_phrases_of_a_right_to_left_line_stand_from_right_to_left():
    text = "قطة وكلب"
    canvas = ink(text, spans=[(0, 3), (5, 8)], colors=[(200, 0, 0), (0, 0, 200)])
    red, blue = (np.flatnonzero((canvas == np.array(c)).all(-1).any(0)) for c in ((200, 0, 0), (0, 0, 200)))
    assert blue.max() < red.min()
