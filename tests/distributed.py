"""Run a function on two processes that form a gloo group."""

import os
import socket
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

SECONDS = 60
"""How long an answer may take; a group that waits for ever is a failure."""


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
    pipes = [context.Pipe() for _ in range(2)]
    workers = [
        context.Process(target=_work, args=(function, rank, port, pipes[rank][1], arguments), daemon=True)
        for rank in range(2)
    ]
    results, waiting, deadline = {}, {pipes[rank][0]: rank for rank in range(2)}, time.monotonic() + SECONDS
    try:
        for worker in workers:
            worker.start()
        while waiting:
            ready = wait(list(waiting), timeout=max(0, deadline - time.monotonic()))
            assert ready, f"processes {sorted(waiting.values())} hang: no answer in {SECONDS} seconds"
            for pipe in ready:
                rank = waiting.pop(pipe)
                succeeded, results[rank] = pipe.recv()
                assert succeeded, f"on rank {rank}: {results[rank]}"
    finally:
        for worker in workers:
            worker.kill()
    return [results[rank] for rank in range(2)]
