import lira_plugin  # noqa: F401, I001  (first, for mmdet without compiled mmcv)
import pytest
import torch


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)
