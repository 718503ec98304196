"""Types by name, and autocast to the type of the weights."""

import pytest
import torch
from torch import nn

from lira_plugin.precision import as_dtype, autocast_to_weights


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_a_type_may_be_named(dtype):
    assert as_dtype(dtype) is torch.bfloat16
    assert as_dtype(None) is None


@pytest.mark.parametrize("dtype", ["int64", torch.int64, "bf16", "Tensor", "float64", torch.float64, 16])
def test_what_is_no_floating_point_type_is_refused(dtype):
    with pytest.raises(ValueError, match=r"must be a floating-point type .*'float32', 'bfloat16' or 'float16'.*got"):
        as_dtype(dtype)


@pytest.mark.parametrize(("dtype", "result"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_weights_of_16_bits_take_inputs_of_32(dtype, result):
    layer = nn.Linear(3, 2).to(as_dtype(dtype))
    with autocast_to_weights(layer):
        assert layer(torch.randn(4, 3)).dtype == result
