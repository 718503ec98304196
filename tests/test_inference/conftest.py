import pytest
import torch
from mmengine.registry import DefaultScope
from recipes import tiny_recipe

from lira_plugin.inference import LIRAInferencer


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope="module")
def lira():
    """Its answers are noise in which special tokens are frequent."""
    torch.manual_seed(0)
    lira = LIRAInferencer(tiny_recipe(), device="cpu", show_progress=False)
    with torch.no_grad():
        head = lira.model.llm.causal_lm.get_output_embeddings().weight
        head.normal_(0, 0.02, generator=torch.Generator().manual_seed(2))
        head[list(lira.model.ids)] *= 8
    return lira
