"""Loading, region decoding, tiling and letterboxing, against Pillow, pycocotools and a literal tile rule."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from lira_plugin.datasets import DecodeRegions, LetterboxImage, LoadImage, TileImage
from lira_plugin.datasets.transforms import tile_grid
from lira_plugin.structures import Conversation, Record, Region, Turn

EXIF_ORIENTATION = 0x0112


def record_of(path, size=None, regions=()):
    conversation = Conversation((Turn("What?", "This."),))
    return Record("flickr/val", "17", None if path is None else str(path), conversation, regions, size)


def load(path, size=None):
    return LoadImage()({"record": record_of(path, size)})["image"]


def noise(height, width, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


# Loading


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_channels_are_red_green_blue(tmp_path, suffix):
    image = noise(7, 11)
    Image.fromarray(image).save(tmp_path / f"a.{suffix}")
    loaded = load(tmp_path / f"a.{suffix}", (7, 11))
    assert loaded.dtype == np.uint8 and loaded.shape == (7, 11, 3)
    assert (loaded == image).all()


def test_a_photograph_without_colour_has_three_equal_channels(tmp_path):
    grey = noise(7, 11)[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert (load(tmp_path / "a.png") == grey[..., None]).all()


def test_a_palette_is_looked_up(tmp_path):
    indices = np.random.default_rng(0).integers(0, 4, (7, 11), dtype=np.uint8)
    colours = np.array([[200, 10, 20], [0, 0, 255], [9, 99, 199], [255, 255, 0]], np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(colours.ravel().tolist())
    image.save(tmp_path / "a.png")
    assert (load(tmp_path / "a.png") == colours[indices]).all()


def test_transparency_is_dropped(tmp_path):
    image = noise(7, 11, channels=4)
    Image.fromarray(image, mode="RGBA").save(tmp_path / "a.png")
    assert (load(tmp_path / "a.png") == image[..., :3]).all()


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.swapaxes(0, 1)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: image[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda image: np.rot90(image, 1)),
    ],
)
def test_the_exif_orientation_is_applied(tmp_path, orientation, upright):
    image, exif = noise(7, 11), Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    expected = upright(image)
    assert (load(tmp_path / "a.png", expected.shape[:2]) == expected).all()


def test_a_malformed_tag_beside_the_orientation_does_no_harm(tmp_path):
    image, exif = noise(7, 11), Image.Exif()
    exif[EXIF_ORIENTATION], exif[0x0213] = 3, 1
    data = exif.tobytes().replace(
        struct.pack(">HHI", 0x0213, 3, 1), struct.pack(">HHI", 0x0213, 2, 1)
    )  # a text, not a number
    assert data != exif.tobytes()
    Image.fromarray(image).save(tmp_path / "a.png", exif=data)
    assert (load(tmp_path / "a.png") == image[::-1, ::-1]).all()


def test_the_upper_of_16_bits_are_taken(tmp_path):
    ramp = np.linspace(0, 65535, 77).astype(np.uint16).reshape(7, 11)
    for name in ("a.png", "a.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        assert (load(tmp_path / name) == (ramp // 256)[..., None]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_known_range_are_an_error(tmp_path, dtype):
    Image.fromarray(np.linspace(-1, 1000, 77).astype(dtype).reshape(7, 11)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="no values of 8 or 16 bits") as error:
        load(tmp_path / "a.tif")
    messages(error, tmp_path / "a.tif")


def test_an_annotation_of_the_stored_pixels_is_told_of_the_orientation(tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(noise(7, 11)).save(tmp_path / "a.png", exif=exif)
    with pytest.raises(ValueError, match="11x7 .turned upright, as its EXIF orientation says"):
        load(tmp_path / "a.png", (7, 11))


def test_a_record_without_an_image_has_none():
    assert load(None) is None


def messages(error, path):
    text = str(error.value)
    assert "flickr/val" in text and "record 17" in text, "source and record"
    assert str(path) in text, "file"
    return text


def test_a_missing_file_is_named_with_a_way_out(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load(tmp_path / "none.jpg")
    assert "image_root" in messages(error, tmp_path / "none.jpg")


def encoded(image_format, image=None):
    file = io.BytesIO()
    Image.fromarray(noise(40, 60) if image is None else image).save(file, image_format)
    return file.getvalue()


def huge_bitmap():
    """A small bitmap whose header claims 60,000 x 60,000 pixels, which Pillow refuses as a decompression bomb."""
    data = bytearray(encoded("BMP"))
    data[18:22] = data[22:26] = (60_000).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>404</html>", id="no image"),
        pytest.param(encoded("JPEG")[:400], id="cut JPEG"),
        pytest.param(encoded("PNG")[:400], id="cut PNG"),
        pytest.param(encoded("PNG")[:60] + b"\0" * 40 + encoded("PNG")[100:], id="overwritten PNG"),
        pytest.param(huge_bitmap(), id="absurd size"),
    ],
)
def test_a_broken_file_is_named_with_a_way_out(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load(path)
    assert "fetch it again" in messages(error, path)


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(ValueError) as error:
        load(tmp_path)
    messages(error, tmp_path)


@pytest.mark.parametrize("size", [(11, 7), (7, 12)])
def test_another_size_than_annotated_is_an_error(tmp_path, size):
    Image.fromarray(noise(7, 11)).save(tmp_path / "a.png")
    with pytest.raises(ValueError) as error:
        load(tmp_path / "a.png", size)
    text = messages(error, tmp_path / "a.png")
    assert f"{size[0]}x{size[1]}" in text and "7x11" in text and "release" in text


# Regions


def test_regions_are_decoded_as_pycocotools_does():
    height, width = 40, 60
    polygons = [[5, 5, 30, 5, 30, 20, 5, 20], [40.5, 25.2, 55.1, 30.7, 42.3, 38.9]]
    blob = np.asfortranarray(noise(height, width)[..., 0] > 200, np.uint8)
    compressed = coco_mask.encode(blob)
    uncompressed = {"size": [height, width], "counts": [100, 50, height * width - 150]}
    regions = (
        Region("polygons", (polygons,)),
        Region("compressed", ({**compressed, "counts": compressed["counts"].decode()},)),
        Region("uncompressed", (uncompressed,)),
        Region("union", (polygons[:1], compressed)),
        Region("no target", ()),
    )
    image = np.zeros((height, width, 3), np.uint8)
    masks = DecodeRegions()({"record": record_of("a.png", regions=regions), "image": image})["masks"]

    drawn = [coco_mask.decode(coco_mask.frPyObjects([polygon], height, width))[..., 0] for polygon in polygons]
    flat = np.zeros(height * width, bool)
    flat[100:150] = True
    expected = [
        drawn[0] | drawn[1],
        blob,
        flat.reshape(width, height).T,  # COCO counts down the columns
        drawn[0] | blob,
        np.zeros((height, width)),
    ]
    assert masks.dtype == bool and masks.shape == (5, height, width)
    for region, mask, wanted in zip(regions, masks, expected):
        assert (mask == wanted.astype(bool)).all(), region.phrase


def test_no_regions_give_no_masks():
    assert len(DecodeRegions()({"record": record_of(None), "image": None})["masks"]) == 0


def test_a_mask_of_another_size_is_an_error():
    rle = coco_mask.encode(np.zeros((41, 60), np.uint8, order="F"))
    results = {"record": record_of("b.png", regions=(Region("x", (rle,)),)), "image": np.zeros((40, 60, 3), np.uint8)}
    with pytest.raises(ValueError, match=r"flickr/val record 17 \(b.png\): .*41x60.*40x60.*do not belong together"):
        DecodeRegions()(results)


# Tiles


def closest_grid(width, height, fewest, most, side, order=None):
    """(columns, rows) by InternVL's rule taken literally (``dynamic_preprocess``, ``find_closest_aspect_ratio``).

    Grids of equally many tiles keep the order in which the set gives them, as there: ``sorted`` is stable and its key
    is the number of tiles only. That order is CPython's and not defined; ``order`` puts another one in its place.
    """
    grids = set()
    for number in range(fewest, most + 1):
        for columns in range(1, number + 1):
            for rows in range(1, number + 1):
                if fewest <= columns * rows <= most:
                    grids.add((columns, rows))
    grids = sorted(grids, key=order) if order else grids
    best, smallest = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(width / height - columns / rows)
        if difference < smallest:
            best, smallest = (columns, rows), difference
        elif difference == smallest and width * height > 0.5 * side * side * columns * rows:
            best = (columns, rows)
    return best


def sizes(seed):
    """(width, height): random ones, and simple ratios at several scales, among them all exact ties of few tiles."""
    random = np.random.default_rng(seed).integers(1, 3000, (400, 2)).tolist()
    return random + [(scale * a, scale * b) for scale in (1, 37, 160, 448) for a in range(1, 14) for b in range(1, 14)]


@pytest.mark.parametrize(("fewest", "most"), [(1, 1), (1, 6), (1, 12), (4, 6), (4, 8), (4, 12), (6, 8)])
def test_the_grid_is_that_of_internvl(fewest, most):
    """At all bounds that the reference trains or evaluates with, whatever order a set has."""
    for width, height in sizes((fewest, most)):
        columns, rows = closest_grid(width, height, fewest, most, 448)
        assert tile_grid(height, width, fewest, most, 448) == (rows, columns), (width, height)
        for order in (lambda grid: grid, lambda grid: (-grid[0], grid[1])):
            assert closest_grid(width, height, fewest, most, 448, order) == (columns, rows), (width, height)


@pytest.mark.parametrize("number", [2, 4, 6, 12])
def test_with_a_fixed_number_of_tiles_the_shape_is_nearest(number):
    """Here ties between equally many tiles exist (4 tiles at 5:2), which the original leaves to the order of a set."""
    for width, height in sizes(number):
        rows, columns = tile_grid(height, width, number, number, 448)
        nearest = min(abs(width / height - i / (number // i)) for i in range(1, number + 1) if number % i == 0)
        assert rows * columns == number
        assert abs(width / height - columns / rows) == nearest, (width, height)


def test_of_equally_near_grids_a_large_image_takes_the_one_of_more_tiles():
    # 1 x 1 and 2 x 2 have the same shape; the border is half of the pixels of 2 x 2 tiles
    assert tile_grid(633, 633, 1, 6, 448) == (1, 1)
    assert tile_grid(634, 634, 1, 6, 448) == (2, 2)
    # half-way between 1 and 1/2 there is no equal shape; the first one, of fewer tiles, holds while the image is small
    assert tile_grid(400, 300, 1, 2, 448) == (1, 1)
    assert tile_grid(1600, 1200, 1, 2, 448) == (2, 1)


@pytest.mark.parametrize(
    ("width", "height", "bounds", "count"),
    [
        (640, 480, (1, 6), 7),
        (640, 480, (4, 12), 13),
        (500, 500, (1, 6), 1),
        (500, 500, (4, 12), 5),
        (480, 640, (1, 6), 7),
        (448, 448, (1, 1), 1),
        (2000, 100, (1, 6), 7),
    ],
)
def test_number_of_tiles(width, height, bounds, count):
    tiles = TileImage(16, *bounds)({"image": noise(height // 28, width // 28)})["tiles"]
    whole = TileImage(448, *bounds)({"image": np.zeros((height, width, 3), np.uint8)})["tiles"]
    assert whole.shape == (count, 3, 448, 448) and whole.dtype == torch.uint8
    assert tiles.shape[1:] == (3, 16, 16)


def test_tiles_are_row_by_row_with_the_thumbnail_last():
    image = noise(31, 52)
    tiles = TileImage(16, 6, 6)({"image": image})["tiles"]
    columns, rows = closest_grid(52, 31, 6, 6, 16)
    assert (columns, rows) == (3, 2)
    resized = Image.fromarray(image).resize((48, 32), Image.BICUBIC)
    crops = [(16 * x, 16 * y, 16 * x + 16, 16 * y + 16) for y in range(2) for x in range(3)]
    expected = [resized.crop(crop) for crop in crops] + [Image.fromarray(image).resize((16, 16), Image.BICUBIC)]
    assert len(tiles) == 7
    for tile, wanted in zip(tiles, expected):
        assert (tile.permute(1, 2, 0).numpy() == np.asarray(wanted)).all()


def test_a_single_tile_has_no_thumbnail():
    image = noise(20, 20)
    tiles = TileImage(16, 1, 1)({"image": image})["tiles"]
    assert len(tiles) == 1
    expected = np.asarray(Image.fromarray(image).resize((16, 16), Image.BICUBIC))
    assert (tiles[0].permute(1, 2, 0).numpy() == expected).all()


def test_text_only_has_no_tiles():
    assert TileImage(16)({"image": None})["tiles"].shape == (0, 3, 16, 16)


@pytest.mark.parametrize("bounds", [(0, 6), (3, 2), (-1, -1)])
def test_impossible_bounds_are_an_error(bounds):
    with pytest.raises(ValueError, match=f"got {bounds[0]} and {bounds[1]}"):
        TileImage(16, *bounds)


# Letterbox


@pytest.mark.parametrize(("height", "width"), [(30, 50), (50, 31), (40, 40)])
def test_masks_follow_the_image(height, width):
    rng = np.random.default_rng(height)
    masks = np.zeros((3, height, width), bool)
    for mask in masks:
        top, left = rng.integers(0, height - 12), rng.integers(0, width - 12)
        mask[top : top + 12, left : left + 9] = True
    for mask in masks:
        image = np.full((height, width, 3), 20, np.uint8)
        image[mask] = 220
        results = LetterboxImage(64, (20, 20, 20))({"image": image, "masks": mask[None]})
        square, painted = results["square_masks"][0], results["pixel_images"][0, 0] > 120
        assert square.shape == (64, 64) and square.dtype == torch.bool
        assert (square & painted).sum() > 0.9 * (square | painted).sum()
        assert (square ^ painted).sum() <= 0.5 * 64, "they differ at most along the border"
    letterbox = results["letterbox"]
    assert (letterbox.height, letterbox.width, letterbox.size) == (height, width, 64)


def test_padding_is_centred_and_filled():
    results = LetterboxImage(50)({"image": np.full((30, 50, 3), 255, np.uint8)})
    picture = results["pixel_images"]
    assert picture.shape == (1, 3, 50, 50) and picture.dtype == torch.uint8
    padding = torch.tensor([122, 116, 104], dtype=torch.uint8)[:, None, None]  # int(255 * CLIP's mean)
    assert (picture[0, :, :10] == padding).all() and (picture[0, :, 40:] == padding).all()
    assert (picture[0, :, 10:40] == 255).all()
    assert results["square_masks"].shape == (0, 50, 50)


def test_text_only_has_no_picture():
    results = LetterboxImage(50)({"image": None, "masks": np.zeros((0, 1, 1), bool)})
    assert results["pixel_images"].shape == (0, 3, 50, 50) and results["letterbox"] is None
    assert results["square_masks"].shape == (0, 50, 50)


def test_a_file_is_read_once_in_a_row_unless_it_changes(tmp_path, monkeypatch):
    import os

    opened, open_image, step = [], Image.open, LoadImage()
    monkeypatch.setattr(Image, "open", lambda path, *rest: opened.append(path) or open_image(path, *rest))
    images = {name: noise(7, 11, seed) for seed, name in enumerate("ab")}
    for name, image in images.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    for name in "aaabba":
        assert (step({"record": record_of(tmp_path / f"{name}.png")})["image"] == images[name]).all()
    assert [os.path.basename(path) for path in opened] == ["a.png", "b.png", "a.png"]
    Image.fromarray(images["b"]).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (1, 1))
    assert (step({"record": record_of(tmp_path / "a.png")})["image"] == images["b"]).all()
