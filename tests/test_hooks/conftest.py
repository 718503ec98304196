import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from training import train


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    """A runner sets the default scope, logger and so on of the whole process; other tests are to start without."""
    managers = (DefaultScope, MMLogger, MessageHub, Visualizer)
    before = [manager._instance_dict.copy() for manager in managers]
    yield
    for manager, instances in zip(managers, before):
        manager._instance_dict.clear()
        manager._instance_dict.update(instances)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    losses, draws = train(folder, 12)
    return folder, losses, draws
