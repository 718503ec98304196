"""The pixel decoder that knows the sizes of its maps against mmdet's, which asks the device."""

import pytest
import torch
from mmdet.models.layers import MSDeformAttnPixelDecoder
from support.tiny_model import feature_maps, tiny_pixel_encoder

from lira_plugin.models.pixel_encoder.sized_pixel_decoder import SizedPixelDecoder


@pytest.mark.parametrize("num_images", [1, 3])
def test_maps_are_those_of_mmdet(num_images):
    decoder = tiny_pixel_encoder().segmenter.pixel_decoder.eval()
    assert type(decoder) is SizedPixelDecoder
    features = [maps[..., :-1] if maps.shape[-1] > 2 else maps for maps in feature_maps(num_images, side=96)]
    with torch.no_grad():
        mask_features, maps = decoder(features)
        expected_features, expected = MSDeformAttnPixelDecoder.forward(decoder, features)
    assert torch.equal(mask_features, expected_features) and all(map(torch.equal, maps, expected))
