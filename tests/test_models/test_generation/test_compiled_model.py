"""A whole compiled model answers as the model does."""

import pytest
import torch
from support.scripted_llm import alike
from support.tiny_model import CHANNELS, D, H, make_batch, random_images, tiny_pixel_encoder
from torch import nn

from lira_plugin.models import MaskDecoder
from lira_plugin.models.compiled_parts import CompiledDecoder, checked_backend, compile_parts, without_deprecated_names
from lira_plugin.settings import WrongSetting


class StridedBackbone(nn.Module):
    """Four convolutions: a backbone that is quick to compile."""

    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(3, width, side, side) for width, side in zip(CHANNELS, (4, 8, 16, 32)))

    def forward(self, images):
        return [convolve(images) for convolve in self.maps]


@pytest.mark.slow
def test_answers_of_a_compiled_model_are_those_of_the_model(model, prompts):
    """Each part is one graph, or torch would raise; asked again, nothing is compiled anew."""
    torch._dynamo.reset()
    model.pixel_encoder.backbone = StridedBackbone().eval()
    del model.pixel_encoder.segmenter.transformer_decoder.layers[:]  # the next test has one
    del model.llm.causal_lm.model.layers[1:]
    data = make_batch([prompts[1]], for_generation=True)
    keys, (answer,) = list(model.state_dict()), model(**data, mode="predict")
    assert answer.spans and "<image_id>" in answer.raw_text, "else there is nothing to compare"
    compile_parts(model, "aot_eager")
    counters, counts = torch._dynamo.utils.counters, []
    for _ in range(2):
        (found,) = model(**data, mode="predict")
        alike(found, answer)
        counts.append(counters["stats"]["unique_graphs"])
    assert counts[0] == counts[1] >= 4, "at least one graph a part"
    assert not counters["graph_break"] and list(model.state_dict()) == keys
    torch._dynamo.reset()


@torch.inference_mode()
def test_masks_of_a_compiled_decoder_are_those_of_the_decoder():
    """Queries fill buckets, and one graph is enough for all counts of images and queries above one."""
    torch._dynamo.reset()
    graphs, encoder = [], tiny_pixel_encoder(num_layers=1).eval()
    plain, ours = MaskDecoder(H, D).eval(), MaskDecoder(H, D).eval()
    ours.load_state_dict(plain.state_dict())
    ours.run_decoder = CompiledDecoder(lambda graph, inputs: graphs.append(graph) or graph.forward)
    without_deprecated_names(encoder)
    memory = encoder.encode(random_images(3)).decoder_memory
    for owners in ([0, 0, 0, 1, 2], [2, 2, 2, 2, 2, 1], [1, 1, 0]):
        states, image = torch.randn(len(owners), H), torch.tensor(owners)
        for found, expected in zip(*(part(states, image, memory, encoder.segmenter) for part in (ours, plain))):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert len(graphs) == 1
    torch._dynamo.reset()


@pytest.mark.parametrize("setting", ["indctor", "", None, 1])
def test_a_backend_that_torch_does_not_have_is_refused(setting):
    with pytest.raises(WrongSetting, match="compile"):
        checked_backend(setting)
    assert [checked_backend(setting) for setting in (True, False, "aot_eager")] == ["inductor", None, "aot_eager"]


def test_weights_of_4_bits_are_refused(model):
    class NF4Linear(nn.Linear):
        """The name is what tells it, for bitsandbytes need not be installed."""

    model.llm.causal_lm.lm_head = NF4Linear(H, H)
    with pytest.raises(WrongSetting, match="cannot compile weights of 4 bits"):
        compile_parts(model)
    assert model.llm.compiled_pass is None
