"""Several training processes on a machine without a GPU.

Mends MMEngine 0.10.6: its launcher gives every process a CUDA device and talks by NCCL, and so it cannot start without one. It
can go when ``mmengine.dist.init_dist`` starts processes without an accelerator.

Importing this module makes the launcher use gloo there, for PyTorch's data parallelism and for DeepSpeed; where there is an
accelerator nothing changes. The recipes import it (``configs/lira/_base_/default_runtime.py``).
"""

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import utils

_join_with_devices = utils._init_dist_pytorch


def join(backend: str, init_backend: str = "torch", **settings: Any) -> None:
    """Join the processes that ``torchrun`` started.

    Args:
        backend: how they talk if they have accelerators; ``gloo`` otherwise.
        init_backend: who sets the group up, ``torch`` or ``deepspeed``.
        settings: for :func:`torch.distributed.init_process_group` or ``deepspeed.init_distributed``.
    """
    if get_device() != "cpu":
        _join_with_devices(backend, init_backend=init_backend, **settings)
    elif init_backend == "deepspeed":
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo", **settings)
    else:
        torch.distributed.init_process_group("gloo", **settings)


utils._init_dist_pytorch = join
