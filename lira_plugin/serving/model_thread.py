"""The thread that has the model: questions join and leave one running batch."""

import gc
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from time import monotonic, sleep

import numpy as np
import torch
from mmengine.logging import print_log

from lira_plugin.inference import LIRAInferencer, Prompt
from lira_plugin.models.generation import InterleavedGenerator, Progress, Request
from lira_plugin.serving.api_errors import ApiError
from lira_plugin.serving.fair_queue import FairQueue, QueueClosedError, QueueFullError
from lira_plugin.serving.job import Job
from lira_plugin.serving.prompt_encoder import PromptEncoder
from lira_plugin.serving.warm_up import warm_up

_TOGETHER = 16
"""Questions that are encoded at a time, at most."""
_ENOUGH = 1 / 2
"""Questions that wait, as a share of the answers that are written, from which on they join at once."""
_PATIENCE = 8
"""Passes after which they join in any case, unless fewer answers are written."""
_LINGER = 0.01
"""Seconds for which the first question waits for others, where the last ones came together and are answered."""
_PAUSE = 0.05
"""Seconds between two news of answers that go on."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
"""Seconds before a model that failed is loaded again; each time twice as many."""
_REMEMBERED = 64
"""Answers that tell how fast the queue moves."""


class State(Enum):
    """What the thread does."""

    LOADING = "loading"
    READY = "ok"
    RECOVERING = "recovering"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Health:
    """How the model is.

    Args:
        state: what the thread does.
        problem: the last thing that went wrong, in words for strangers; empty where nothing did.
    """

    state: State = State.LOADING
    problem: str = ""


class ModelThread:
    """Loads a model and answers the questions that are given to it, for as long as it is not stopped.

    A question that fails while its prompt is encoded gets an error. Where a pass of the batch fails, each of its answers is begun
    anew, alone: one that fails again gets an error, the others go on where they were. A model that fails a test after that is
    loaded again. A model that is compiled is asked from this thread alone, and answers once it has compiled.

    Args:
        load: makes the model.
        max_waiting: questions that may wait.
        cache_bytes: of encoded images that are kept.
        batch_size: answers written at the same time; None takes the recipe's.

    ``on_done`` is called with each answer's job, and how many tokens the model has sampled for it.
    """

    def __init__(
        self,
        load: Callable[[], LIRAInferencer],
        max_waiting: int = 256,
        cache_bytes: int = 1_000_000_000,
        batch_size: int | None = None,
    ) -> None:
        self.load, self.cache_bytes, self.batch_size = load, cache_bytes, batch_size
        self.make_encoder = PromptEncoder
        self.on_done: Callable[[Job, int], None] = lambda job, num_tokens: None
        self.queue: FairQueue[Job] = FairQueue(max_waiting)
        self.health, self.restarts = Health(), 0
        self.lira: LIRAInferencer | None = None
        self.generator: InterleavedGenerator | None = None
        self.encoder: PromptEncoder | None = None
        self._ready: deque[tuple[Job, Request]] = deque()  # encoded, and waiting for a slot
        self._running: dict[int, Job] = {}
        self._rounds_waited = self._num_joined = 0
        self._ends: deque[float] = deque(maxlen=_REMEMBERED)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lira-model", daemon=True)

    @property
    def num_running(self) -> int:
        """Answers that are being written."""
        return len(self._running)

    def start(self) -> None:
        """Load the model, in the background."""
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put the questions of one client into the queue, all or none.

        Raises:
            ApiError: there is no model for now, or no room.
        """
        if self.health.state not in (State.READY, State.RECOVERING):
            raise self.unavailable()
        try:
            self.queue.put(jobs[0].client, jobs)
        except QueueClosedError:
            raise self.unavailable() from None
        except QueueFullError:
            raise self.busy() from None

    def unavailable(self) -> ApiError:
        """What clients are told while there is no model."""
        return ApiError(503, f"the model is not there: {self.health.state.value}", code="unavailable", retry_after=5)

    def busy(self) -> ApiError:
        """What clients are told while the queue is full."""
        return ApiError(
            429, "too many questions are waiting; try again", code="queue_full", retry_after=self.wait_seconds()
        )

    def wait_seconds(self) -> int:
        """How long the queue will take, as far as one can tell: 1 to 60 seconds."""
        if len(self._ends) < 2:
            return 1
        rate = (len(self._ends) - 1) / max(self._ends[-1] - self._ends[0], 1e-3)
        return int(min(max(len(self.queue) / rate, 1), 60))

    def forget(self, job: Job) -> None:
        """Nobody waits for an answer any more: it leaves the queue, or the batch before its next pass."""
        job.give_up()
        self.queue.remove(job.client, job)

    def stop(self, seconds: float = 0.0) -> None:
        """Take no more questions, write the answers that were asked for, and end.

        Args:
            seconds: for the answers; those that are not done by then fail.
        """
        self.health = Health(State.STOPPING)
        self._stopped.set()
        self.queue.close()
        if not self._thread.is_alive():
            return
        self._thread.join(seconds)
        for job in list(self._running.values()):
            job.fail(self.unavailable())
        self._fail_waiting()
        self._thread.join(10)

    # --- in the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                self._load()
                pause = _FIRST_PAUSE
                self._answer_all()
            except Exception as error:
                self._set(State.FAILED, error, "the model could not be loaded, or does not answer")
                self._fail_waiting()
                self.lira = self.generator = self.encoder = None
                self._ready.clear()
                _free_memory(error)
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._fail_waiting()

    def _load(self) -> None:
        if self.health.state is not State.FAILED:  # a failed model stays so until it is there
            self.health = replace(self.health, state=State.LOADING)
        lira = self.load()
        settings = {} if self.batch_size is None else {"batch_size": self.batch_size}
        self.generator, self.encoder = lira.model.generator(**settings), self.make_encoder(lira, self.cache_bytes)
        self.lira = lira
        if lira.backend is not None:
            warm_up(lira, self.generator)
        self._test()
        self._become_ready()

    def _become_ready(self) -> None:
        if not self._stopped.is_set():
            self.health = Health(State.READY, self.health.problem)

    def _test(self) -> None:
        """One token about a black image."""
        sample = self.lira.sample(Prompt("test", np.zeros((32, 32, 3), np.uint8), "?"))
        decoding = replace(self.generator.decoding, max_new_tokens=1)
        for request in self.lira.requests([sample]):
            list(self.generator.stream([replace(request, decoding=decoding)]))

    def _answer_all(self) -> None:
        """Answer until the queue is closed and empty."""
        while not (self._stopped.is_set() and not self._ready and not len(self.queue)):
            try:
                for progress in self.generator.stream(self._requests(), _PAUSE):
                    index = progress.request_index
                    self._tell(self._running.pop(index) if progress.done else self._running[index], progress)
            except Exception as error:
                self._recover(error)

    def _requests(self) -> Iterator[Request | None]:
        """What joins the batch next; None where nothing does for now, and the end once the queue is closed."""
        index = 0
        while True:
            if not self._ready and self._is_time_to_join():
                jobs = self._take()
                if not jobs and not self._running:
                    return
                self._ready.extend(self._encode(jobs))
                if not self._ready:
                    continue
            request = None
            if self._ready:
                job, request = self._ready.popleft()
                if self._is_over(job):
                    continue
                self._running[index] = job
            yield request
            index += 1

    def _is_time_to_join(self) -> bool:
        """Whether enough questions wait: to encode and run several prompts takes little longer than one, and all others wait."""
        if not self._running:
            return True
        if not len(self.queue):
            return False
        self._rounds_waited += 1
        return len(self.queue) >= _ENOUGH * len(self._running) or self._rounds_waited > min(
            _PATIENCE, len(self._running)
        )

    def _take(self) -> list[Job]:
        """The next questions; the first is waited for where nothing else is to be done."""
        self._rounds_waited, jobs = 0, []
        while len(jobs) < _TOGETHER:
            job = self.queue.take(wait=not (jobs or self._running))
            if job is None:
                break
            if not self._is_over(job):
                jobs.append(job)
            if len(jobs) == 1 and not self._running and self._num_joined > 1:
                sleep(_LINGER)
        self._num_joined = len(jobs)
        return jobs

    def _is_over(self, job: Job) -> bool:
        """Whether nobody waits for the answer any more, or it is too late for it."""
        if job.is_late:
            job.fail(too_late())
        return job.is_over

    def _encode(self, jobs: Sequence[Job]) -> list[tuple[Job, Request]]:
        """The requests of questions; those that cannot be encoded have failed."""
        if not jobs:
            return []
        try:
            return list(zip(jobs, self.encoder.requests(jobs), strict=True))
        except Exception as error:
            if len(jobs) > 1:
                return [pair for job in jobs for pair in self._encode([job])]
            if not _is_out_of_memory(error):
                self._fail(jobs[0], error)
                return []
            self._set(self.health.state, error, "it ran out of memory")
            self.encoder.cache.clear()
            _free_memory(error)
        try:
            return list(zip(jobs, self.encoder.requests(jobs), strict=True))
        except Exception as error:
            self._fail(jobs[0], error)
            return []

    def _tell(self, job: Job, progress: Progress) -> None:
        if progress.done and job.is_late:
            job.fail(too_late())
        was_over = job.is_over
        job.progress(progress.answer, progress.done, progress.num_sampled)
        if progress.done:
            self._ends.append(monotonic())
            if not was_over:
                self.on_done(job, progress.num_sampled)

    def _recover(self, error: Exception) -> None:
        """Begin the answers of a batch that failed anew, each alone.

        Raises:
            Exception: the model fails at a test, too.
        """
        jobs = list(self._running.values())
        self._running.clear()
        self.restarts += 1
        self._set(State.RECOVERING, error, "it ran out of memory" if _is_out_of_memory(error) else "a pass failed")
        self.encoder.cache.clear()
        _free_memory(error)
        for job in jobs:
            self._running[0] = job
            try:
                for _, request in self._encode([] if self._is_over(job) else [job]):
                    for progress in self.generator.stream([request]):
                        self._tell(job, progress)
            except Exception as own_error:
                self._fail(job, own_error)
                _free_memory(own_error)
        self._running.clear()
        self._test()
        self._become_ready()

    def _fail(self, job: Job, error: Exception) -> None:
        print_log(f"a question failed:\n{_trace(error)}", logger="current", level=logging.ERROR)
        if _is_out_of_memory(error):
            job.fail(
                ApiError(503, "the question needs more memory than there is; ask about a smaller image", code="memory")
            )
        else:
            job.fail(ApiError(500, "the server could not answer; its log says why", code="failed"))

    def _set(self, state: State, error: Exception, problem: str) -> None:
        print_log(f"the model: {problem}\n{_trace(error)}", logger="current", level=logging.ERROR)
        if not self._stopped.is_set():
            self.health = Health(state, f"{problem} ({type(error).__name__}); the log says more")

    def _fail_waiting(self) -> None:
        for job in [job for job, _ in list(self._ready)]:
            job.fail(self.unavailable())
        while (job := self.queue.take(wait=False)) is not None:
            job.fail(self.unavailable())


def too_late() -> ApiError:
    """What clients are told whose time is over."""
    return ApiError(504, "the answer was not done within the time limit", code="timeout")


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in ("out of memory", "allocate memory"))


def _free_memory(error: BaseException) -> None:
    """Give back what the frames of an error hold."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if torch.cuda.is_initialized():
        try:
            torch.cuda.empty_cache()
        except RuntimeError as fault:  # the context is broken: only a new process helps, and the test will say so
            print_log(f"the GPU's memory cannot be given back: {fault}", logger="current", level=logging.WARNING)
