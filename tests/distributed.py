"""Run a function on two processes that form a gloo group."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch


def _work(function: Callable, rank: int, port: int, queue: Any, both_done: Any, arguments: tuple) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    queue.put((rank, function(rank, *arguments)))
    both_done.wait()
    os._exit(0)  # taking the group down after a fork hangs now and then


def on_two_processes(function: Callable, *arguments: Any) -> list[Any]:
    """What ``function(rank, *arguments)`` returns on rank 0 and 1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")  # a fresh interpreter would import for half a minute
    queue, both_done = context.SimpleQueue(), context.Barrier(2)
    workers = [
        context.Process(target=_work, args=(function, rank, port, queue, both_done, arguments)) for rank in range(2)
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
    finally:
        for worker in workers:
            worker.kill()
    results = dict(queue.get() for _ in workers)
    return [results[rank] for rank in range(2)]
