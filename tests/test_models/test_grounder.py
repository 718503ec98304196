"""Masks of states whose images were encoded in different batches."""

import torch
from tiny import H, random_images, tiny_lira

from lira_plugin.models.grounder import LIRAGrounder


@torch.no_grad()
def test_images_of_all_batches_are_decoded_together(monkeypatch):
    model = tiny_lira().eval()
    segmenter, decoded = model.pixel_encoder.segmenter, []
    first, second = (model.pixel_encoder.encode(random_images(3, seed=seed)).pyramid for seed in (0, 1))
    features = [(first, 2), (second, 1), (first, 0), (second, 0), (first, 2)]
    states = torch.randn(len(features), H)
    alone = [
        model.mask_decoder(state[None], torch.tensor([image]), pyramid, segmenter)[-1][0]
        for state, (pyramid, image) in zip(states, features)
    ]
    decode = segmenter.decode
    monkeypatch.setattr(
        segmenter,
        "decode",
        lambda part, *args, **kw: decoded.append(len(part.mask_features)) or decode(part, *args, **kw),
    )
    together = LIRAGrounder(model).decode_masks(states, features)
    assert decoded == [4], "each image once"
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)
