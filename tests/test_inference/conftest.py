import pytest
from mmengine.registry import DefaultScope
from recipes import tiny_inferencer


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope="module")
def lira():
    return tiny_inferencer()
