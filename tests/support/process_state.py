"""What runners and inferencers leave behind in the process, and how to take it away."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer


@contextmanager
def process_state_restored() -> Iterator[None]:
    """Give the next test the default scope, loggers, visualizers and number of threads that there were."""
    kept = [(kind, dict(kind._instance_dict)) for kind in (DefaultScope, MMLogger, MessageHub, Visualizer)]
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for kind, instances in kept:
            kind._instance_dict.clear()
            kind._instance_dict.update(instances)
