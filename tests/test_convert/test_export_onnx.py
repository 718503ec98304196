"""The exported mask decoder against PyTorch's."""

import numpy as np
import pytest
import torch
from support.tiny_model import IMAGE, mask_decoder_config, random_images, tiny_lira

from lira_plugin.convert import export_mask_decoder

pytestmark = pytest.mark.slow
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnx")

QUERIES = 3


@pytest.mark.parametrize("decoder", ["shared", "own"])
@torch.no_grad()
def test_masks_are_those_of_pytorch_for_any_images(tmp_path, decoder):
    model = tiny_lira(mask_decoder=mask_decoder_config(decoder=decoder)).eval()
    file = tmp_path / "mask_decoder.onnx"
    names = export_mask_decoder(model, file, QUERIES, IMAGE)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == names
    for images in (1, 2, 5):
        memory = model.pixel_encoder.encode(random_images(images, seed=images)).decoder_memory
        states = torch.randn(images, QUERIES, model.llm.hidden_size, generator=torch.Generator().manual_seed(images))
        given = dict(
            zip(names, [states, memory.mask_features, *memory.memories])
        )  # of two layers, the third level is not read
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        owner = torch.arange(images).repeat_interleave(QUERIES)
        expected = model.mask_decoder(states.flatten(0, 1), owner, memory, model.pixel_encoder.segmenter)[-1]
        expected = expected.unflatten(0, (images, QUERIES)).numpy()
        assert expected.std() > 0.1, "there is something to see"
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
        assert ((found > 0) == (expected > 0)).mean() > 0.999


def test_what_cannot_be_exported_is_said(tmp_path):
    model = tiny_lira()
    with pytest.raises(ValueError, match="queries must be positive, got 0"):
        export_mask_decoder(model, tmp_path / "m.onnx", 0)
    with pytest.raises(ValueError, match="give image_size"):
        export_mask_decoder(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="in fp32, and the weights are in torch.bfloat16"):
        export_mask_decoder(model.bfloat16(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
