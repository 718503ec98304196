"""Run a function on two processes that form a gloo group."""

import faulthandler
import functools
import importlib
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

SECONDS = 180
"""How long an answer may take; a group that waits for ever is a failure."""
PARTED = {"stage3_param_persistence_threshold": 0, "stage3_max_reuse_distance": 0}
"""Parts even the smallest weights, as it would be with large ones, and never looks for the next use of one: half of a step."""


def _work(function: Callable, rank: int, group: Path, parent: Connection, environment: dict, arguments: tuple) -> None:
    os.environ.update(environment)
    faulthandler.dump_traceback_later(SECONDS - 10)  # where it hangs, if it does
    try:
        torch.distributed.init_process_group("gloo", init_method=group.as_uri(), rank=rank, world_size=2)
        answer = (True, function(rank, *arguments))
    except BaseException:
        answer = (False, traceback.format_exc())
    parent.send(answer)
    time.sleep(SECONDS)  # until killed: the other may need this one, and taking the group down hangs now and then
    os._exit(0)


@functools.cache
def _forked() -> BaseContext:
    """Processes are forked from one that has imported everything and has a single thread.

    A fork of the process of the tests would take over locks that its threads hold, and wait for ever; a fresh interpreter
    imports for a quarter of a minute.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.imported"])
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)  # the server reads it as it starts
        patch.setenv("JE_ARROW_MALLOC_CONF", "background_thread:false")
        forkserver.ensure_running()
    return context


def ensure_forked() -> None:
    """Processes that the code under test forks from a server (``multiprocessing``'s) have imported everything, too."""
    _forked()


def start(function: Callable, *arguments: Any) -> BaseProcess:
    """A process of its own that runs a function of a module; it has imported everything, and may be killed."""
    process = _forked().Process(target=_run, args=(function, dict(os.environ), arguments))
    process.start()
    return process


def _run(function: Callable, environment: dict, arguments: tuple) -> None:
    os.environ.update(environment)
    function(*arguments)


def on_two_processes(function: Callable, *arguments: Any) -> list[Any]:
    """What ``function(rank, *arguments)`` returns on rank 0 and 1; an error of one of them is an error here.

    The function belongs to a module, and arguments and answers can be pickled; the environment is that of the test.
    """
    workers, results, waiting, deadline = [], {}, {}, time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory() as folder:
        try:
            for rank in range(2):
                ours, theirs = _forked().Pipe(duplex=False)
                start = (function, rank, Path(folder, "group"), theirs, dict(os.environ), arguments)
                workers.append(_forked().Process(target=_work, args=start, daemon=True))
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
