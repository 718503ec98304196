"""What a model says of its images: how many pixel tokens there are, if any."""

import pytest

from lira_plugin.datasets import LetterboxImage
from lira_plugin.structures import InputSpec


@pytest.mark.parametrize(
    ("size", "cell", "tokens"),
    [(1024, 64, 256), (96, 16, 36), (96, 0, 0), (None, 0, 0), (96, None, None), (None, 16, None)],
)
def test_pixel_tokens_are_cells_of_the_image(size, cell, tokens):
    assert InputSpec(image_size=size, pixel_cell=cell).pixel_tokens == tokens


def test_an_image_of_any_size_suits_a_model_without_pixel_tokens():
    letterbox = LetterboxImage()
    letterbox.fit_to_model(InputSpec(image_size=50, pixel_cell=0))
    assert letterbox.size == 50
