"""Masks of states whose images were encoded in different batches."""

import torch
from support.tiny_model import H, random_images, tiny_lira

from lira_plugin.models.answering import LIRAGrounder
from lira_plugin.models.pixel_encoder.mask2former import Mask2FormerDecoder


@torch.no_grad()
def test_images_of_all_batches_are_decoded_together(monkeypatch):
    model = tiny_lira().eval()
    segmenter, decoded = model.pixel_encoder.segmenter, []
    first, second = (model.pixel_encoder.encode(random_images(3, seed=seed)).decoder_memory for seed in (0, 1))
    features = [(first, 2), (second, 1), (first, 0), (second, 0), (first, 2)]
    states = torch.randn(len(features), H)
    alone = [
        model.mask_decoder(state[None], torch.tensor([image]), decoder_memory, segmenter)[-1][0]
        for state, (decoder_memory, image) in zip(states, features)
    ]
    forward = Mask2FormerDecoder.forward
    monkeypatch.setattr(
        Mask2FormerDecoder,
        "forward",
        lambda self, part, *args, **kw: decoded.append(len(part.mask_features)) or forward(self, part, *args, **kw),
    )
    together = LIRAGrounder(model).decode_masks(states, features)
    assert decoded == [4], "each image once"
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)
