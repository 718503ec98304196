"""Processes that torch starts to compile with, whether or not anything is compiled.

Mends DeepSpeed 0.17: it imports ``torch._inductor``, which at once starts a process with two more behind it, each of which
imports torch. They cost 6 seconds of a core and 1.2 GB at the start of every training under it. It can go when ``import
deepspeed`` starts no process. The first ``torch.compile`` still starts them.
"""

import os

VARIABLE = "TORCH_WARM_POOL"
"""What torch asks for; "0" leaves the warm-up out."""


def start_when_needed() -> None:
    """Leave the warm-up out in this process and those that it starts, unless the environment says otherwise."""
    os.environ.setdefault(VARIABLE, "0")
