import pytest
from support.process_state import process_state_restored
from support.training_runs import train


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    """A runner sets the default scope, logger and so on of the whole process; other tests are to start without."""
    with process_state_restored():
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    losses, draws = train(folder, 12)
    return folder, losses, draws
