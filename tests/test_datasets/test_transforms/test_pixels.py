"""Image files of every kind: upright RGB, the stored pixels, or an error that names the file."""

import io
import json
import os
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lira_plugin.datasets import (
    CocoInstanceDataset,
    DecodeRegions,
    GCGDataset,
    GroundingDataset,
    LetterboxImage,
    LlavaDataset,
    LoadImage,
    PackGroundingInputs,
    ReferSegDataset,
)
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.datasets.lengths import image_size
from lira_plugin.datasets.transforms import needs_exif_decision, pixels, read_rgb, upright_rgb
from lira_plugin.structures import Conversation, Record, Region, Turn, encode_mask

HEIGHT, WIDTH = 7, 11
FORMATS = ["png", "jpg", "tif", "webp"]


@pytest.fixture(autouse=True)
def said(monkeypatch):
    """What is logged, in a process that has logged nothing yet."""
    messages = []
    monkeypatch.setattr(pixels, "_said", set())
    monkeypatch.setattr(pixels, "print_log", lambda message, **settings: messages.append(message))
    return messages


def noise(*shape, seed=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, shape or (HEIGHT, WIDTH, 3)).astype(dtype)


def write(folder, orientation=None, suffix="png", image=None):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = folder / f"a.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(noise() if image is None else image).save(path, exif=exif, **lossless)
    return str(path)


def record_of(path, size=None, exif="apply", regions=()):
    return Record("coco/val", "17", str(path), Conversation((Turn("q", "a"),)), regions, size, exif)


def upright(image, orientation):
    """What EXIF defines: where the stored rows and columns belong."""
    rows = {1: 1, 2: 1, 3: -1, 4: -1, 5: 1, 6: -1, 7: -1, 8: 1}[orientation]
    columns = {1: 1, 2: -1, 3: -1, 4: 1, 5: 1, 6: 1, 7: -1, 8: -1}[orientation]
    image = image[::rows, ::columns]
    return image.swapaxes(0, 1) if orientation >= 5 else image


# 16 bits


DEPTHS = [(1, 0), (255, 0), (256, 2), (1023, 2), (1024, 4), (4095, 4), (4096, 6), (16383, 6), (16384, 8), (65535, 8)]


@pytest.mark.parametrize(("high", "shift"), DEPTHS)
@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_the_largest_value_says_how_many_of_16_bits_are_used(tmp_path, said, high, shift, mode):
    values = np.linspace(0, high, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
    typed = {"I;16": np.uint16, "I;16B": ">u2", "I": np.int32}[mode]
    image = Image.frombytes(mode, (WIDTH, HEIGHT), values.astype(typed).tobytes())
    image.save(tmp_path / "a.tif")
    found = read_rgb(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(found, np.repeat((values >> shift)[..., None], 3, 2))
    assert found.max() >= min(high, 64), "not black"
    np.testing.assert_array_equal(upright_rgb(image), found)
    bits = 8 + shift
    assert said == ([] if high >= 16384 else [said[0]]) and all(f"read as {bits} bits" in message for message in said)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("high", "shift"), DEPTHS)
def test_colours_of_16_bits_follow_the_same_rule(tmp_path, suffix, channels, high, shift):
    """Pillow alone reads the upper 8 of 16 bits; OpenCV writes what is to be read."""
    values = np.linspace(0, high, HEIGHT * WIDTH * 3).round().astype(np.uint16).reshape(HEIGHT, WIDTH, 3)
    stored = np.concatenate([values[..., ::-1], np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)], 2)[..., :channels]
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), stored)
    np.testing.assert_array_equal(read_rgb(str(tmp_path / f"a.{suffix}")), values >> shift)


def png_of_16_bits(colour_type, values, extra=b""):
    """A PNG as its specification writes it; of colour type 2 (RGB) or 4 (grey and opacity)."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("high", [4095, 65535])
def test_grey_with_opacity_of_16_bits_is_read_or_named(tmp_path, high):
    values = np.linspace(0, high, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
    path = tmp_path / "a.png"
    path.write_bytes(png_of_16_bits(4, np.stack([values, np.full_like(values, 65535)], 2)))
    np.testing.assert_array_equal(
        read_rgb(str(path)), np.repeat((values >> (4 if high == 4095 else 8))[..., None], 3, 2)
    )


def test_dark_colours_of_16_bits_that_are_no_file_are_an_error(tmp_path):
    values = np.linspace(0, 4095, HEIGHT * WIDTH * 3).astype(np.uint16).reshape(HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match="16 bits, of which the upper 8 are dark"):
        upright_rgb(Image.open(io.BytesIO(png_of_16_bits(2, values))))
    (tmp_path / "a.png").write_bytes(png_of_16_bits(2, values))
    np.testing.assert_array_equal(upright_rgb(Image.open(tmp_path / "a.png")), values >> 4)


def test_it_is_said_once(tmp_path, said):
    for name in "abc":
        Image.fromarray(noise(HEIGHT, WIDTH, high=4096, dtype=np.uint16)).save(tmp_path / f"{name}.png")
        read_rgb(str(tmp_path / f"{name}.png"))
    assert len(said) == 1 and "a.png" in said[0] and "12 bits" in said[0]


def test_a_black_image_stays_black(tmp_path):
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(tmp_path / "a.png")
    assert not read_rgb(str(tmp_path / "a.png")).any()


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_values_beyond_16_bits_are_an_error(tmp_path, value):
    Image.fromarray(np.full((HEIGHT, WIDTH), value, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"coco/val record 17: .*a\.tif .*{value}.* no values of 8 or 16 bits"):
        LoadImage()({"record": record_of(tmp_path / "a.tif")})


# EXIF


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_applied_or_ignored(tmp_path, suffix, orientation):
    stored = read_rgb(write(tmp_path, None, suffix))
    path = write(tmp_path, orientation, suffix)
    np.testing.assert_array_equal(read_rgb(path), upright(stored, orientation))
    np.testing.assert_array_equal(read_rgb(path, "ignore"), stored)
    for exif in ("apply", "ignore"):
        expected = read_rgb(path, exif).shape[:2]
        assert image_size(record_of(path, exif=exif)) == expected, "lengths are those of what is read"
        assert LoadImage()({"record": record_of(path, expected, exif)})["image"].shape[:2] == expected


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", range(5, 9))
@pytest.mark.parametrize(
    ("exif", "size", "way_out"), [("apply", (HEIGHT, WIDTH), "ignore"), ("ignore", (WIDTH, HEIGHT), "apply")]
)
def test_where_the_annotated_size_tells_a_wrong_setting_is_named(tmp_path, suffix, orientation, exif, size, way_out):
    path = write(tmp_path, orientation, suffix)
    with pytest.raises(ValueError, match=rf"coco/val record 17: .*: set exif='{way_out}' of the data set"):
        LoadImage()({"record": record_of(path, size, exif)})
    LoadImage()({"record": record_of(path, size, way_out)})
    mask = Region("dog", (encode_mask(np.ones(size, bool)),))  # tells too, where the record states no size
    steps = build_pipeline([LoadImage(), DecodeRegions()])
    with pytest.raises(ValueError, match=rf"coco/val record 17 .*: set exif='{way_out}' of the data set"):
        steps({"record": record_of(path, None, exif, (mask,))})
    assert steps({"record": record_of(path, None, way_out, (mask,))})["masks"].all()


def test_another_size_has_nothing_to_do_with_it(tmp_path):
    path = write(tmp_path, 6)
    for exif in ("apply", "ignore"):
        for size in ((HEIGHT, WIDTH + 1), (WIDTH + 1, HEIGHT)):
            with pytest.raises(ValueError, match="another release") as error:
                LoadImage()({"record": record_of(path, size, exif)})
            assert "exif=" not in str(error.value)
    with pytest.raises(ValueError, match="another release"):
        LoadImage()({"record": record_of(write(tmp_path), (WIDTH, HEIGHT))})


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_what_nobody_but_a_person_can_tell(tmp_path, suffix, orientation):
    path = write(tmp_path, orientation, suffix)
    turned = (orientation or 1) > 1
    assert needs_exif_decision(path, (HEIGHT, WIDTH)) == (turned and orientation < 5)
    assert needs_exif_decision(path) == turned
    square = write(tmp_path, orientation, suffix, noise(HEIGHT, HEIGHT, 3))
    assert needs_exif_decision(square, (HEIGHT, HEIGHT)) == turned


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, orientation):
    np.testing.assert_array_equal(read_rgb(write(tmp_path, orientation)), noise())


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_malformed_exif_turns_nothing(tmp_path, exif):
    Image.fromarray(noise()).save(tmp_path / "a.png", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(read_rgb(str(tmp_path / "a.png")), noise())
        assert image_size(record_of(tmp_path / "a.png")) == (HEIGHT, WIDTH)


def test_one_loader_reads_a_file_for_two_data_sets(tmp_path):
    path, load = write(tmp_path, 6), LoadImage()
    shapes = [load({"record": record_of(path, exif=exif)})["image"].shape for exif in ("apply", "ignore", "apply")]
    assert shapes == [(WIDTH, HEIGHT, 3), (HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3)]


def test_the_letterbox_that_evaluation_uses_is_of_what_was_read(tmp_path):
    steps = [LoadImage(), DecodeRegions(), LetterboxImage(size=16), PackGroundingInputs(for_generation=True)]
    for exif, size in (("apply", (WIDTH, HEIGHT)), ("ignore", (HEIGHT, WIDTH))):
        sample = build_pipeline(steps)({"record": record_of(write(tmp_path, 6), size, exif)})
        assert (sample.letterbox.height, sample.letterbox.width) == sample.image.shape[:2] == size


MESSAGES = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
REFS = [{"sentence": "dog", "segmentation": [[0, 0, 5, 0, 5, 5]]}]
IMAGES = [{"id": 1, "file_name": "a.png", "height": 7, "width": 11}]
READERS = [
    (LlavaDataset, {}, [{"image": "a.png", "conversations": MESSAGES}]),
    (CocoInstanceDataset, {}, {"images": IMAGES, "annotations": []}),
    (GCGDataset, {"layout": "refcocog"}, [{"1": {"img_file_name": "a.png", "caption": "a dog", "refs": REFS}}]),
]


@pytest.mark.parametrize(("reader", "settings", "content"), READERS, ids=[reader.__name__ for reader, *_ in READERS])
def test_each_reader_has_the_setting(tmp_path, reader, settings, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    write(tmp_path, 6)
    for exif, width in (("apply", HEIGHT), ("ignore", WIDTH)):
        data = reader(
            str(tmp_path / "a.json"), str(tmp_path), pipeline=[lambda results: results], exif=exif, **settings
        )
        record = data[0]["record"]
        assert record.exif == exif and read_rgb(record.image_path, record.exif).shape[1] == width
    with pytest.raises(ValueError, match=r"exif of .* must be 'apply' or 'ignore', got True"):
        reader(str(tmp_path / "a.json"), str(tmp_path), exif=True, **settings)


def test_expressions_have_the_setting(tmp_path):
    (tmp_path / "refcoco").mkdir()
    ref = {"ref_id": 1, "ann_id": [], "image_id": 1, "split": "val", "sentences": [{"sent": "dog"}]}
    (tmp_path / "refcoco" / "refs(unc).json").write_text(json.dumps([ref]))
    (tmp_path / "refcoco" / "instances.json").write_text(json.dumps({"images": IMAGES, "annotations": []}))
    data = ReferSegDataset(str(tmp_path), "refcoco", "val", "x", [lambda results: results], exif="ignore")
    assert data[0]["record"].exif == "ignore" and issubclass(ReferSegDataset, GroundingDataset)


# Other kinds of pixels


def as_mode(mode):
    image = Image.fromarray(noise(HEIGHT, WIDTH, 4), "RGBA")
    if mode == "P with opacity":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = bytes(range(0, 256, 16))
    elif mode == "1":
        image = Image.fromarray(noise(HEIGHT, WIDTH) > 100)
    elif mode == "CMYK":
        image = image.convert("RGB").convert("CMYK")
    elif mode in ("La", "RGBa"):
        image = image.convert(mode.upper()).convert(mode)
    elif mode != "RGBA":
        image = image.convert("RGB").convert(mode)
    return image


def colours(image):
    """By Pillow, one step at a time."""
    if image.mode in ("P", "La", "RGBa"):
        image = image.convert({"La": "LA"}.get(image.mode, "RGBA"))
    bands = image.convert("RGBA") if image.mode in ("LA", "RGBA") else image.convert("RGB")
    return np.asarray(bands)[..., :3]


MODES = ["1", "L", "LA", "P", "P with opacity", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"]


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_becomes_rgb(mode):
    image = as_mode(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = upright_rgb(image.copy())
    assert found.dtype == np.uint8 and found.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(found, colours(image))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", "png"),
        ("1", "tif"),
        ("LA", "png"),
        ("P with opacity", "png"),
        ("P", "gif"),
        ("CMYK", "tif"),
        ("CMYK", "jpg"),
    ],
)
def test_files_of_these_modes(tmp_path, mode, suffix):
    image = as_mode(mode)
    image.save(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as again:
        expected = colours(again)
    np.testing.assert_array_equal(read_rgb(str(tmp_path / f"a.{suffix}")), expected)


def test_a_mode_that_is_no_rgb_names_the_file(tmp_path):
    Image.fromarray(noise(HEIGHT, WIDTH, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"coco/val record 17: .*a\.tif cannot be read as an image"):
        LoadImage()({"record": record_of(tmp_path / "a.tif")})


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_picture_is_read_and_that_is_said(tmp_path, said, suffix):
    frames = [Image.fromarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8)) for grey in (40, 120, 200)]
    path = str(tmp_path / f"a.{suffix}")
    settings = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **settings)
    for _ in range(2):
        assert (read_rgb(path) == 40).all()
    assert len(said) == 1 and path in said[0] and "first" in said[0]


# Broken files


def encoded(suffix):
    file = io.BytesIO()
    smooth = np.linspace(0, 255, 60 * 80 * 3).astype(np.uint8).reshape(60, 80, 3) ^ noise(60, 80, 3, high=32)
    Image.fromarray(smooth).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_named(tmp_path, suffix, share):
    content = encoded(suffix)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ValueError, match=rf"coco/val record 17: .*a\.{suffix} cannot be read as an image .*fetch it again"
    ):
        LoadImage()({"record": record_of(path)})


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
def test_a_file_with_any_byte_changed_is_an_image_or_named(tmp_path, suffix):
    content, path = bytearray(encoded(suffix)), tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(0)
    for index in [*range(0, 40), *rng.integers(0, len(content), 40).tolist()]:
        broken = bytearray(content)
        broken[index] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = LoadImage()({"record": record_of(path)})["image"]
        except ValueError as error:
            assert "coco/val record 17" in str(error) and str(path) in str(error)
        else:
            assert image.dtype == np.uint8 and image.shape[2] == 3


@pytest.mark.parametrize(
    "error", [SyntaxError, EOFError, IndexError, struct.error, zlib.error, Image.DecompressionBombError]
)
def test_whatever_pillow_raises_of_a_broken_file_is_a_value_error(tmp_path, monkeypatch, error):
    def broken(*args, **kwargs):
        raise error("broken")

    path = write(tmp_path)
    monkeypatch.setattr(Image.Image, "convert", broken)
    for read in (read_rgb, lambda path: upright_rgb(Image.open(path))):
        with pytest.raises(ValueError, match="broken"):
            read(path)
    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(ValueError, match="broken"):
        needs_exif_decision(path)


def test_a_pipe_in_place_of_a_file_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    record = record_of(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"coco/val record 17: .*a\.png .*no regular file"):
        LoadImage()({"record": record})
    with pytest.raises(ValueError, match=r"coco/val record 17: .*a\.png .*no regular file"):
        image_size(record)
