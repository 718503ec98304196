"""Jobs in processes of their own, which are forked from one that has imported everything; most are tools of xtuner."""

import functools
import importlib
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import NamedTuple

PRELOADED = ("xtuner.tools.train", "xtuner.tools.test", "lira_plugin.hooks", "lira_plugin.quickstart.panel")
"""What jobs find imported."""
_ITERATION = re.compile(r"Iter\((?:train|test)\) *\[ *(\d+)/(\d+)\](.*)")
"""A line of MMEngine's log: index of the iteration, how many there are, and values."""
_VALUE = re.compile(r"\bloss: [-+.\de]+")
_RIGHT = re.compile(r"\brefined/P@0\.5: ([\d.]+)")
"""A score of a validation."""
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Lets glibc keep freed memory, which the next iteration asks for again (32 MiB is its largest threshold for mmap), and ask
for huge pages (from version 2.35 on, where Linux leaves that to programs)."""
_ONE_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""So that the process that is forked has no other thread, whose locks a fork would take over for ever."""
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Job:
    """A module whose ``main`` is to be run, as by ``python -m``.

    Args:
        name: what it is for.
        module: the module.
        arguments: of its command line.
        log: where its output goes.
    """

    name: str
    module: str
    arguments: Sequence[str]
    log: Path


def xtuner_job(name: str, arguments: Sequence[str], folder: Path) -> Job:
    """A tool of xtuner.

    Args:
        name: what it is for.
        arguments: tool and its arguments, such as ``["train", "config.py"]``.
        folder: where its output goes, to ``xtuner_<tool>.log``.
    """
    tool, *rest = arguments
    return Job(name, f"xtuner.tools.{tool}", rest, folder / f"xtuner_{tool}.log")


class LogEnd(NamedTuple):
    """What the end of a log says: iterations done, iterations of all, the loss in words, and the latest share of right masks."""

    done: int = 0
    total: int | None = None
    loss: str = ""
    right: float | None = None


class Usage(NamedTuple):
    """What a process took: its highest resident memory in MiB, and seconds."""

    peak_rss_mb: int
    seconds: float


def import_early() -> None:
    """Let the process that others are forked from start its imports, which take seconds and say what nobody needs to read."""
    _context()
    with _environment(_MALLOC | _ONE_THREAD), _silent():
        forkserver.ensure_running()


def run_jobs(jobs: Sequence[Job], show: Callable[[list[LogEnd]], None]) -> list[Usage]:
    """Run jobs side by side, each in a process of its own; their output goes to log files.

    Args:
        jobs: what to run. Several share the cores: each has as many threads as its part of them.
        show: called twice a second with the ends of the logs, in the order of the jobs.

    Returns:
        What each process took.

    Raises:
        RuntimeError: one failed, and the others were ended; the message has the last line of its output.
    """
    import_early()
    threads = None if len(jobs) < 2 else max(1, (os.cpu_count() or 1) // len(jobs))
    running = [_Running(job, threads) for job in jobs]
    try:
        while True:
            ended = [process.has_ended() for process in running]  # of each, for one may have failed
            show([log_end(job.log) for job in jobs])
            if all(ended):
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        for process in running:  # interrupted, or another failed
            process.end()
    return [process.usage for process in running]


def log_end(log: Path) -> LogEnd:
    """Read the iteration, loss and score that MMEngine logged last."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 32768))
        text = file.read().decode(errors="replace")
    lines, right = _ITERATION.findall(text), _RIGHT.findall(text)
    done, total, values = lines[-1] if lines else (0, None, "")
    loss = ", ".join(_VALUE.findall(values))
    return LogEnd(int(done), total and int(total), loss, float(right[-1]) if right else None)


class _Running:
    """A process that runs a job."""

    def __init__(self, job: Job, threads: int | None) -> None:
        self.job, self._start = job, time.perf_counter()
        self.usage = Usage(0, 0.0)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_bytes(b"")
        self._peak, child = _context().Pipe(duplex=False)
        arguments = (job, dict(os.environ), threads, child)
        self._process = _context().Process(target=_run, args=arguments)
        self._process.start()
        child.close()

    def has_ended(self) -> bool:
        """Whether it came to its end.

        Raises:
            RuntimeError: it failed.
        """
        if self.usage.seconds:
            return True
        if self._process.is_alive():
            return False
        if self._process.exitcode:
            said = self.job.log.read_text(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"exit code {self._process.exitcode}"
            command = " ".join(["python -m", self.job.module, *self.job.arguments])
            raise RuntimeError(f"`{command}` failed: {reason} (its whole output is in {self.job.log})")
        peak = self._peak.recv() // (1 if sys.platform == "linux" else 1024) // 1024
        self.usage = Usage(peak, time.perf_counter() - self._start)
        return True

    def end(self) -> None:
        """End it, if it runs."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _run(job: Job, environment: Mapping[str, str], threads: int | None, peak: connection.Connection) -> None:
    """Run a job in this process, and send its highest resident memory in the end."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    with job.log.open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if threads is not None:
        import torch

        torch.set_num_threads(min(threads, torch.get_num_threads()))
    sys.argv = [job.module, *job.arguments]
    importlib.import_module(job.module).main()
    peak.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, however it ends, and end too."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


@functools.cache
def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *PRELOADED])
    return context


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Variables that are not set have these values meanwhile."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _silent() -> Iterator[None]:
    """Processes that are started meanwhile write to nowhere."""
    kept = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    try:
        with open(os.devnull, "wb") as nothing:
            for descriptor, _ in kept:
                os.dup2(nothing.fileno(), descriptor)
        yield
    finally:
        for descriptor, copy in kept:
            os.dup2(copy, descriptor)
            os.close(copy)
