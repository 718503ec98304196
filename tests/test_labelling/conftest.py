import pytest
from support.inferencer_fixtures import leave_no_trace, lira
from support.tiny_model import write_image

__all__ = ["leave_no_trace", "lira"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of images, one in a folder of it."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "inner").mkdir()
    for name in ("a", "b", "inner/c"):
        write_image(folder, name)
    (folder / "notes.txt").write_text("no image")
    return folder
