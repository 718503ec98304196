"""Averages over the batch of all training processes, which make data parallelism equal to one process with the whole batch."""

from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce, all_reduce_dict, get_world_size
from torch import Tensor


def mean_count(count: int, device: torch.device) -> Tensor:
    """What the sum over the items of this process is to be divided by.

    Data parallelism averages the gradients of the processes as if each had as many items; divided by this number they
    become those of the mean over the items of all processes (as Mask2Former counts masks). Every process has to call it, with
    or without items.

    Args:
        count: items of this process: masks, supervised tokens, images.
        device: of the result.

    Returns:
        Scalar: items of all processes, but at least one, divided by the number of processes.
    """
    total = torch.tensor(float(count), device=device)
    all_reduce(total)
    return total.clamp(min=1) / get_world_size()


def mean_logs(logs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Average scalars over the processes, so that the log shows the losses of the whole batch; they lose their graph."""
    logs = {name: value.detach().clone() for name, value in logs.items()}
    all_reduce_dict(logs, op="mean")
    return logs
