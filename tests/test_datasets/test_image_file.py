"""Which files are opened as images."""

import os

import pytest
from PIL import Image, UnidentifiedImageError

from lira_plugin.datasets.image_file import IMAGE_FORMATS, open_image
from lira_plugin.datasets.lengths import image_size
from lira_plugin.datasets.transforms import LoadImage
from lira_plugin.structures import Conversation, Record, Turn


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_formats_that_are_read(tmp_path, kind):
    Image.new("RGB", (7, 5), (1, 2, 3)).save(tmp_path / "a", kind)
    with open_image(tmp_path / "a") as image:
        assert (image.format, image.size) == (kind, (7, 5))


def test_photographs_of_several_views_are_read(tmp_path):
    view = Image.new("RGB", (7, 5))
    view.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[view])
    with open_image(tmp_path / "a.jpg", ["JPEG"]) as image:
        assert image.size == (7, 5)


@pytest.mark.parametrize("kind", ["EPS", "TGA", "ICO", "PCX"])
def test_formats_that_are_not(tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", kind)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == kind
    with pytest.raises(UnidentifiedImageError):
        open_image(tmp_path / "a.png")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    record = Record("source", "1", str(tmp_path / "a.png"), Conversation((Turn("What?", "It."),)), ())
    for path in (tmp_path / "a.png", tmp_path / "link.png", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="is no regular file"):
            open_image(path)
    with pytest.raises(ValueError, match=r"source record 1: .*is no regular file"):
        LoadImage().transform({"record": record})
    with pytest.raises(ValueError, match=r"source record 1: .*is no regular file"):
        image_size(record)
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "b.png")
