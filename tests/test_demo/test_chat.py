"""What is kept of a chat and given out, against formulas, Pillow and pycocotools."""

import html
import io
import json
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support.tiny_model import write_image

from lira_plugin.demo import Chat
from lira_plugin.demo.mask_regions import region_svg
from lira_plugin.structures import GroundedSpan, GroundedText
from lira_plugin.visualization import draw_masks, palette
from lira_plugin.web.received_image import read_received


def read_image(path, max_pixels):
    return read_received(path, max_pixels, "demo")


HEIGHT, WIDTH = 480, 360


def span(start, end, text, seed):
    """A phrase with smooth logits."""
    rng = np.random.default_rng(seed)
    refined, coarse = (np.kron(rng.normal(0, 2, (8, 6)), np.ones((60, 60))).astype(np.float32) for _ in range(2))
    refined += np.linspace(-1, 1, WIDTH, dtype=np.float32)
    return GroundedSpan(
        start, end, text[start:end], refined > 0, coarse > 0, logits=refined, coarse_logits=coarse
    )  # fmt: skip


@pytest.fixture
def chat():
    image = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    text = "a <dog> & a ball"
    first = GroundedText(text, (span(0, 7, text, 0), span(10, 16, text, 1)))
    return (
        Chat("a.png", image).with_turn("What?", first).with_turn("Is it red?", GroundedText("It is.", finished=False))
    )


def probability(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9])
def test_masks_at_another_threshold(chat, threshold):
    for old, new in zip(chat.turns[0][1].spans, chat.turns[0][1].at(threshold).spans):
        inside = probability(old.logits)
        np.testing.assert_array_equal(new.mask, inside > threshold)
        np.testing.assert_array_equal(new.coarse_mask, probability(old.coarse_logits) > threshold)
        assert new.score == pytest.approx(inside[inside > threshold].mean(), abs=1e-5)


def test_nothing_above_the_threshold_is_an_empty_mask(chat):
    span = chat.turns[0][1].spans[0].at(0.9999)
    assert not span.mask.any() and span.score == 0


@pytest.mark.parametrize("threshold", [0, 1, -0.1])
def test_thresholds_are_probabilities(chat, threshold):
    with pytest.raises(ValueError, match="between 0 and 1"):
        chat.mask_json(threshold)


def test_masks_without_logits_cannot_be_thresholded():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match="'cat' were not kept"):
        GroundedSpan(0, 3, "cat", mask).at(0.5)
    with pytest.raises(ValueError, match="'cat' were not kept"):
        GroundedSpan(0, 3, "cat", mask, mask, logits=np.ones((2, 2), np.float32)).at(0.5)


def test_a_threshold_afterwards_is_one_while_generating(lira, tmp_path):
    image = write_image(tmp_path, "blocks")
    (kept,) = lira(image, "Please segment the cat.", return_logits=True)
    (other,) = lira(image, "Please segment the cat.", force=True, threshold=0.6)
    (forced,) = lira(image, "Please segment the cat.", force=True, return_logits=True)
    assert kept.spans and all(one.coarse_logits is not None for one in kept.spans if one.coarse_mask is not None)
    for one, two in zip(forced.at(0.6).spans, other.spans, strict=True):
        np.testing.assert_array_equal(one.mask, two.mask)
        assert one.score == pytest.approx(two.score, abs=1e-6)


@pytest.mark.parametrize("stage", ["refined", "coarse"])
def test_the_zip_has_all_masks_as_png(chat, stage):
    archive = zipfile.ZipFile(io.BytesIO(chat.mask_zip(stage, 0.7)))
    assert archive.namelist() == ["01_01_a-dog.png", "01_02_a-ball.png"]
    for name, span in zip(archive.namelist(), chat.turns[0][1].spans):
        pixels = np.array(Image.open(io.BytesIO(archive.read(name))))
        logits = span.logits if stage == "refined" else span.coarse_logits
        np.testing.assert_array_equal(pixels, 255 * (probability(logits) > 0.7))


def test_the_json_is_coco_rle(chat):
    found = json.loads(chat.mask_json(0.7))
    assert (found["image"], found["size"], found["threshold"]) == ("a.png", [HEIGHT, WIDTH], 0.7)
    assert [answer["question"] for answer in found["answers"]] == ["What?", "Is it red?"]
    for row, span in zip(found["answers"][0]["spans"], chat.turns[0][1].spans, strict=True):
        assert row["phrase"] == span.phrase
        for key, logits in (("segmentation", span.logits), ("coarse_segmentation", span.coarse_logits)):
            np.testing.assert_array_equal(coco_mask.decode(row[key]), probability(logits) > 0.7)


@pytest.mark.parametrize("stage", ["refined", "coarse"])
def test_the_coco_file_has_the_masks_of_the_kind_that_is_chosen(chat, stage, tmp_path):
    (tmp_path / "coco.json").write_bytes(chat.coco_json(stage, 0.7))
    truth = COCO(str(tmp_path / "coco.json"))
    assert [(image["file_name"], image["height"], image["width"]) for image in truth.imgs.values()] == [
        ("a.png", HEIGHT, WIDTH)
    ]
    for annotation, span in zip(truth.anns.values(), chat.turns[0][1].spans, strict=True):
        likely = probability(span.logits if stage == "refined" else span.coarse_logits)
        np.testing.assert_array_equal(truth.annToMask(annotation), likely > 0.7)
        assert truth.cats[annotation["category_id"]]["name"] == span.phrase
        assert annotation["score"] == pytest.approx(likely[likely > 0.7].mean())


@pytest.mark.parametrize("stage", ["refined", "coarse"])
def test_a_region_says_phrase_and_score_of_its_mask(chat, stage):
    expected = set()
    for span in chat.turns[0][1].spans:
        likely = probability(span.logits if stage == "refined" else span.coarse_logits)
        expected.add(f"{html.escape(span.phrase)} {likely[likely > 0.7].mean():.2f}")
    drawn = chat.regions(0, stage, 0.7)
    assert set(re.findall('aria-label="(.*?)"', drawn)) == expected and len(expected) == 2
    assert f'viewBox="0 0 {WIDTH} {HEIGHT}"' in drawn
    assert chat.regions() == region_svg([], [], []) == "", "the last answer has no masks"


def test_the_smallest_region_lies_on_top_and_an_empty_one_is_left_out():
    large, small, empty = np.ones((40, 40), bool), np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    small[10:20, 10:20] = True
    drawn = region_svg([small, empty, large], ["small", "empty", "large"], palette(3))
    assert re.findall('aria-label="(.*?)"', drawn) == ["large", "small"]


def test_the_saved_picture_is_the_one_that_is_shown(chat):
    saved = Image.open(io.BytesIO(chat.picture_png(0, "coarse", 0.7)))
    np.testing.assert_array_equal(np.array(saved), chat.picture(0, "coarse", 0.7))


def test_the_conversation_is_escaped_and_coloured(chat):
    page = chat.with_turn("<script>alert(1)</script>", GroundedText("", finished=False)).to_html()
    first, second = palette(2)
    assert re.findall(r"<mark style=\"background:rgb\((.*?)\);color:white\">(.*?)</mark>", page) == [
        (",".join(map(str, first)), "a &lt;dog&gt;"),
        (",".join(map(str, second)), "a ball"),
    ]
    assert "</mark> &amp; <mark" in page and "<script" not in page
    assert page.count('class="question"') == 3 and "It is.…" in page  # which was cut off


def test_the_picture_has_the_masks_of_the_answer_that_is_chosen(chat):
    masks = [probability(span.coarse_logits) > 0.7 for span in chat.turns[0][1].spans]
    np.testing.assert_array_equal(chat.picture(0, "coarse", 0.7), draw_masks(chat.image, masks))
    again = chat.with_turn("And?", chat.turns[0][1])  # whose masks have colours of their own
    np.testing.assert_array_equal(again.picture(2, "coarse", 0.7), draw_masks(chat.image, masks, palette(4)[2:]))
    styles = re.findall(r"background:rgb\((.*?)\)", again.to_html())
    assert styles == [",".join(map(str, color)) for color in palette(4)]
    np.testing.assert_array_equal(chat.picture(), chat.image)  # the last answer has none
    np.testing.assert_array_equal(Chat("a.png", chat.image).picture(), chat.image)


@pytest.mark.parametrize(
    ("size", "shown"), [((2048, 100), (1024, 50)), ((6, 24), (120, 480)), ((500, 700), (500, 700))]
)
def test_pictures_fit_the_page(size, shown):
    logits = np.full(size, -5, np.float32)
    logits[: size[0] // 2] = 5
    answer = GroundedText("top", (GroundedSpan(0, 3, "top", logits > 0, logits=logits),))
    chat = Chat("a.png", np.zeros((*size, 3), np.uint8)).with_turn("?", answer)
    covered = chat.picture().any(-1)
    assert covered.shape == shown
    assert covered[: shown[0] // 2].all() and not covered[shown[0] // 2 + 1 :].any()


def test_a_mask_of_a_few_pixels_is_seen_on_a_large_picture():
    mask = np.zeros((3000, 3000), bool)
    mask[1000:1002, 2000:2002] = True
    answer = GroundedText("dot", (GroundedSpan(0, 3, "dot", mask, logits=np.where(mask, 5, -5).astype(np.float32)),))
    chat = Chat("a.png", np.zeros((*mask.shape, 3), np.uint8))
    assert (chat.with_turn("?", answer).picture() != chat.picture()).any()


def test_what_was_not_answered_is_no_history(chat):
    assert chat.with_turn("And?", GroundedText("", finished=False)).history == chat.turns


def test_images_come_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", 600).shape == (30, 20, 3)


def test_images_too_large_or_broken_are_refused(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="30 x 20"):
        read_image(tmp_path / "a.png", 599)
    whole = Path(write_image(tmp_path, "whole", 20, 30)).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(tmp_path / "b.png", 600)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_formats_that_visitors_may_send(tmp_path, kind):
    Image.new("RGB", (30, 20), (200, 100, 0)).save(tmp_path / "a", kind)
    assert np.abs(read_image(tmp_path / "a", 600).astype(int) - (200, 100, 0)).max() < 8
    with pytest.raises(ValueError, match="30 x 20 pixels, the demo takes 0.000599 megapixels"):
        read_image(tmp_path / "a", 599)


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "EPS", "ICO", "JPEG2000"])
def test_formats_that_they_may_not(tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", kind)
    with pytest.raises(ValueError, match=r"cannot be read as an image \(PNG, JPEG, WebP, BMP or GIF\)"):
        read_image(tmp_path / "a.png", 600)


def test_a_header_that_lies_is_not_believed(tmp_path):
    """The size in the header is checked before anything is decoded, also where it is beyond Pillow's own limit."""
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    for side, message in (
        (10_000, "10000 x 10000 pixels"),
        (60_000, "far too many pixels, the demo takes 16 megapixels"),
    ):
        content[16:24] = struct.pack(">II", side, side)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_image(tmp_path / "a.png", 16_000_000)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(tmp_path / "a.png", 600)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_broken_files_are_told_of(tmp_path, kind):
    """Bytes are changed and cut off at random: there is an image within the limit, or a message."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "whole", kind)
    whole = (tmp_path / "whole").read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(whole[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for position in rng.integers(0, min(len(content), rng.choice([40, 200, 4000])), rng.integers(1, 5)):
            content[position] = rng.integers(256)
        (tmp_path / "broken").write_bytes(content)
        try:
            image = read_image(tmp_path / "broken", 600)
        except ValueError as error:
            refused += 1
            assert "cannot be read as an image" in str(error) or "megapixels at most" in str(error)
        else:
            assert image.size <= 3 * 600
    assert refused > 20
