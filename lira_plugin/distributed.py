"""Data parallelism: its wrapper, and averages over the batch of all processes, which make it equal to a single process."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, all_reduce_dict, get_world_size
from mmengine.model import BaseModel, MMDistributedDataParallel
from torch import Tensor, nn

from lira_plugin.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class DataParallel(MMDistributedDataParallel):
    """MMEngine's wrapper, which takes the weights of the model inside of it.

    Mends xtuner 0.2.0: on several processes ``xtuner test`` loads a checkpoint into the wrapper, which calls every weight
    ``module.<name>``, and with ``strict=False``. It would test the weights that the model was built with. The method can go when
    xtuner unwraps the model first.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load weights by their names in the wrapped model or in the wrapper."""
        state = {name.removeprefix("module."): value for name, value in state_dict.items()}
        return self.module.load_state_dict(state, *args, **kwargs)


def is_sharded(model: nn.Module) -> bool:
    """Whether a forward pass needs all processes; ``ds_id`` is ZeRO-3's mark on the parameters it partitions."""
    fsdp = sys.modules.get("torch.distributed.fsdp")  # seconds to import, which who wraps a model in it has done
    if fsdp is not None and any(isinstance(module, fsdp.FullyShardedDataParallel) for module in model.modules()):
        return True
    return any(hasattr(parameter, "ds_id") for parameter in model.parameters())


class LoggedModel(BaseModel):
    """MMEngine's base of models; what is logged of a batch is that of all training processes."""

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the losses up; the logs are averages over the training processes."""
        loss, logs = super().parse_losses(losses)
        return loss, mean_logs(logs)


def mean_count(count: int, device: torch.device) -> Tensor:
    """What the sum over the items of this process is to be divided by.

    Data parallelism averages the gradients of the processes as if each had as many items; divided by this they
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
