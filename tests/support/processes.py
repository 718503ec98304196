"""Run a function on two processes that form a gloo group."""

import importlib
import os
import socket
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

SECONDS = 180
"""How long an answer may take; a group that waits for ever is a failure."""
PARTED = {"stage3_param_persistence_threshold": 0, "stage3_max_reuse_distance": 0}
"""Parts even the smallest weights, as it would be with large ones, and never looks for the next use of one: half of a step."""


def _work(function: Callable, rank: int, port: int, parent: Connection, arguments: tuple) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not outlive a fork
    try:
        torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
        answer = (True, function(rank, *arguments))
    except BaseException:
        answer = (False, traceback.format_exc())
    parent.send(answer)
    time.sleep(SECONDS)  # until killed: the other may need this one, and taking the group down hangs now and then
    os._exit(0)


def on_two_processes(function: Callable, *arguments: Any) -> list[Any]:
    """What ``function(rank, *arguments)`` returns on rank 0 and 1; an error of one of them is an error here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")  # a fresh interpreter would import for half a minute
    workers, results, waiting, deadline = [], {}, {}, time.monotonic() + SECONDS
    try:
        for rank in range(2):
            ours, theirs = context.Pipe(duplex=False)
            workers.append(context.Process(target=_work, args=(function, rank, port, theirs, arguments), daemon=True))
            workers[rank].start()
            theirs.close()  # so that it ends with the process
            waiting[ours] = rank
        while waiting:
            ready = wait(list(waiting), timeout=max(0, deadline - time.monotonic()))
            assert ready, f"processes {sorted(waiting.values())} hang: no answer in {SECONDS} seconds"
            for pipe in ready:
                rank = waiting.pop(pipe)
                try:
                    succeeded, results[rank] = pipe.recv()
                except EOFError:
                    workers[rank].join()
                    raise AssertionError(f"process {rank} died, exit code {workers[rank].exitcode}") from None
                assert succeeded, f"on rank {rank}: {results[rank]}"
    finally:
        for worker in workers:
            worker.kill()
    return [results[rank] for rank in range(2)]


def without_compiled_gloo() -> None:
    """DeepSpeed would compile an operator that gloo does without; ``deepspeed.comm.torch`` as an attribute is PyTorch."""
    importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None


def deepspeed_engine(
    model: torch.nn.Module, rank: int, stage: int, optimizer: Callable, bf16: bool = False, **config: Any
):
    """An engine on one of two processes; ``optimizer`` makes one of the parameters that are trained."""
    import deepspeed

    without_compiled_gloo()
    deepspeed.logger.setLevel("ERROR")
    os.environ.update(LOCAL_RANK=str(rank), RANK=str(rank), WORLD_SIZE="2")  # of this forked process alone
    config = {
        "train_micro_batch_size_per_gpu": 4,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": stage} | (PARTED if stage == 3 else {}),
        "bf16": {"enabled": bf16},
        **config,
    }
    trained = optimizer([p for p in model.parameters() if p.requires_grad])
    return deepspeed.initialize(model=model, optimizer=trained, config=config)[0]
