"""Deformable attention level by level is mmcv's."""

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from lira_plugin.models.pixel_encoder import deformable_attention
from lira_plugin.models.pixel_encoder.deformable_attention import DeformableAttention, sample_levels

SIZES = [(3, 4), (5, 7)]
CELLS = 47


def test_samples_are_those_of_mmcv():
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(2, CELLS, 3, 4, generator=draw, dtype=torch.float64)
    points = torch.rand(2, 6, 3, 2, 5, 2, generator=draw, dtype=torch.float64) * 1.4 - 0.2  # outside of the maps, too
    weights = torch.rand(2, 6, 3, 2, 5, generator=draw, dtype=torch.float64)
    upstream = torch.randn(2, 6, 12, generator=draw, dtype=torch.float64)
    results = []
    for sample, sizes in ((sample_levels, SIZES), (multi_scale_deformable_attn_pytorch, torch.tensor(SIZES))):
        inputs = [tensor.clone().requires_grad_() for tensor in (values, points, weights)]
        output = sample(inputs[0], sizes, *inputs[1:])
        output.backward(upstream)
        results.append([output, *(tensor.grad for tensor in inputs)])
    for ours, theirs in zip(*results, strict=True):
        assert theirs.abs().sum() > 0
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("padded", [False, True])
def test_the_module_is_mmcvs(padded):
    torch.manual_seed(0)
    settings = {"embed_dims": 12, "num_heads": 3, "num_levels": 2, "num_points": 4, "dropout": 0.0, "batch_first": True}
    ours, theirs = DeformableAttention(**settings), MultiScaleDeformableAttention(**settings)
    for parameter in theirs.parameters():  # mmcv begins with weights of zero
        torch.nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    inputs = {
        "query": torch.randn(2, CELLS, 12),
        "value": torch.randn(2, CELLS, 12),
        "query_pos": torch.randn(2, CELLS, 12),
        "key_padding_mask": torch.rand(2, CELLS) < 0.3 if padded else None,
        "reference_points": torch.rand(2, CELLS, 2, 2),
        "spatial_shapes": torch.tensor(SIZES),
        "level_start_index": torch.tensor([0, 12]),
    }
    torch.testing.assert_close(ours(**inputs), theirs(**inputs))
    del inputs["value"]
    torch.testing.assert_close(
        ours(**inputs, identity=inputs["query_pos"]), theirs(**inputs, identity=inputs["query_pos"])
    )


def test_compiled_operators_are_for_gpus(monkeypatch):
    monkeypatch.setattr(deformable_attention, "_COMPILED", True)
    monkeypatch.setattr(deformable_attention, "MultiScaleDeformableAttnFunction", None)
    module = DeformableAttention(embed_dims=4, num_heads=1, num_levels=1, num_points=1, batch_first=True)
    sizes, reference = torch.tensor([[1, 2]]), torch.rand(1, 2, 1, 2)
    assert module(torch.randn(1, 2, 4), reference_points=reference, spatial_shapes=sizes).shape == (1, 2, 4)


def test_queries_first_are_refused():
    with pytest.raises(ValueError, match="batch_first=True"):
        DeformableAttention(embed_dims=4, num_heads=1, num_levels=1, num_points=1)(torch.zeros(2, 1, 4))
