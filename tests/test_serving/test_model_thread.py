"""The thread of the model: who joins, who leaves, and what happens when something breaks."""

import threading
import time

import pytest
import torch
from support.scripted_llm import GROUNDED
from support.scripted_server import ScriptedLIRA, job_of, scripted_thread
from support.serving import wait_for

from lira_plugin.models.generation import Decoding
from lira_plugin.serving.api_errors import ApiError
from lira_plugin.serving.model_thread import State

LONG = [10] * 90


class Running:
    """A thread with a scripted model."""

    def __init__(self, lira, **settings):
        self.lira, self.news = lira, {}
        self.thread = scripted_thread(lambda: lira, **settings)
        self.thread.start()
        wait_for(lambda: self.thread.health.state is not State.LOADING)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.thread.stop(1)

    def job(self, index, seconds=30.0, in_pieces=True, **settings):
        told = self.news.setdefault(index, [])
        end = time.monotonic() + seconds
        return job_of(index, Decoding(), told.append, end, in_pieces=in_pieces, **settings)

    def ask(self, *indices, **settings):
        jobs = [self.job(index, **settings) for index in indices]
        self.thread.submit(jobs)
        return jobs

    def wait(self, *indices):
        wait_for(lambda: all(self.news[index] and self.news[index][-1].done for index in indices))
        return [self.news[index][-1] for index in indices]

    def texts(self, *indices):
        return [news.answer.text for news in self.wait(*indices)]

    def pieces(self, index):
        return "".join(news.piece for news in self.news[index])


def gate():
    """Passes that wait until they are let through."""
    let = threading.Event()
    return let, lambda length: let.wait(20)


def test_answers_come_in_pieces_that_add_up():
    with Running(ScriptedLIRA(GROUNDED, LONG)) as running:
        running.ask(0, 1)
        assert running.texts(0, 1) == ["dog.", "dog" * 90]
        assert running.pieces(0) == "dog." and running.pieces(1) == "dog" * 90
        assert running.news[0][-1].answer.spans[0].refined


def test_who_wants_the_answer_alone_is_told_once():
    with Running(ScriptedLIRA(GROUNDED)) as running:
        running.ask(0, in_pieces=False)
        running.wait(0)
        assert [news.piece for news in running.news[0]] == ["dog."]


def test_a_late_comer_joins_while_another_is_written():
    with Running(ScriptedLIRA(LONG, GROUNDED)) as running:
        running.ask(0)
        wait_for(lambda: running.news[0])
        running.ask(1)
        running.wait(1)
        assert not running.news[0][-1].done, "the long answer goes on"
        assert running.texts(0) == ["dog" * 90]


def test_a_client_that_goes_frees_its_slot_within_one_pass():
    lira, jobs, at_pass = ScriptedLIRA(LONG, GROUNDED), [], []
    with Running(lira, batch_size=1) as running:

        def go_at_the_eighth(length):
            at_pass.append([job.sample.index for job in running.thread._running.values()])
            if len(at_pass) == 8:
                running.thread.forget(jobs[0])

        lira.break_pass = go_at_the_eighth
        jobs += running.ask(0, 1)
        assert running.texts(1) == ["dog."]
        assert at_pass[:10] == [[0]] * 8 + [[1]] * 2, "the pass after the one in which it went is the next one's"
        assert not running.news[0][-1].done and not running.thread.num_running


def test_a_client_that_goes_while_it_waits_is_never_encoded():
    let, wait = gate()
    with Running(ScriptedLIRA(LONG, GROUNDED, GROUNDED), batch_size=1) as running:
        running.lira.break_pass = wait
        running.ask(0)
        wait_for(lambda: running.thread.num_running)
        (job,) = running.ask(1)
        running.ask(2)
        running.thread.forget(job)
        assert len(running.thread.queue) <= 2
        let.set()
        running.wait(2)
        assert 1 not in running.lira.encoded


def test_the_time_limit_ends_an_answer_and_leaves_the_others():
    with Running(ScriptedLIRA(LONG, [10] * 30, GROUNDED), batch_size=2) as running:
        running.ask(0, seconds=0.05)
        running.ask(2, seconds=-1)
        running.ask(1)
        late, never = running.wait(0, 2)
        assert late.error.status == never.error.status == 504 and late.error.code == "timeout"
        assert 2 not in running.lira.encoded and running.texts(1) == ["dog" * 30]


def test_clients_take_turns():
    order = []
    lira = ScriptedLIRA(LONG, *[GROUNDED] * 6, break_encoding=order.append)
    with Running(lira, batch_size=1) as running:
        (blocker,) = running.ask(0, client="x")
        wait_for(lambda: running.news[0])
        running.ask(1, 2, 3, client="many")
        running.ask(4, client="one")
        running.ask(5, client="two")
        running.ask(6, client="many")
        running.thread.forget(blocker)
        running.wait(1, 2, 3, 4, 5, 6)
        assert order[-6:] == [1, 4, 5, 2, 3, 6]


def test_a_full_queue_says_when_to_come_again():
    with Running(ScriptedLIRA(LONG, LONG, GROUNDED), batch_size=1, max_waiting=2) as running:
        running.ask(0)
        wait_for(lambda: running.news[0])
        running.ask(1)
        with pytest.raises(ApiError) as raised:
            running.ask(1, 2)
        assert raised.value.status == 429 and 1 <= int(raised.value.headers["Retry-After"]) <= 60
        assert len(running.thread.queue) == 1, "all or none"


@pytest.mark.parametrize("error", [ValueError("broken"), RuntimeError("broken")])
def test_a_prompt_that_cannot_be_encoded_leaves_the_others(error):
    def break_encoding(index):
        if index == 1:
            raise error

    with Running(ScriptedLIRA(GROUNDED, GROUNDED, LONG, break_encoding=break_encoding)) as running:
        running.ask(0, 1, 2)
        ok, failed, long = running.wait(0, 1, 2)
        assert failed.error.status == 500 and "broken" not in failed.error.message
        assert ok.answer.text == "dog." and long.answer.text == "dog" * 90 and not running.thread.restarts


def test_a_prompt_is_encoded_again_after_memory_was_freed():
    tries = []

    def break_encoding(index):
        tries.append(index)
        if tries == [1, 0]:  # the first try is the thread's own test
            raise torch.OutOfMemoryError("out of memory")

    with Running(ScriptedLIRA(GROUNDED, break_encoding=break_encoding)) as running:
        running.ask(0)
        assert running.texts(0) == ["dog."] and tries == [1, 0, 0]
        assert running.lira.cache.cleared == 1 and "memory" in running.thread.health.problem


def test_a_prompt_that_never_fits_is_refused():
    def break_encoding(index):
        if index == 0:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with Running(ScriptedLIRA(GROUNDED, GROUNDED, break_encoding=break_encoding)) as running:
        running.ask(0, 1)
        failed, ok = running.wait(0, 1)
        assert failed.error.status == 503 and failed.error.code == "memory" and ok.answer.text == "dog."


def test_a_pass_that_fails_is_done_again_for_each_alone():
    """Nothing is told twice, and the masks are the same."""
    count = [0]

    def break_pass(length):
        count[0] += 1
        if count[0] == 40:
            raise torch.OutOfMemoryError("CUDA out of memory")

    lira = ScriptedLIRA(LONG, [*[10] * 30, *GROUNDED], [10] * 50)
    with Running(lira) as running:
        lira.break_pass = break_pass
        running.ask(0, 1, 2)
        assert running.texts(0, 1, 2) == ["dog" * 90, "dog" * 31 + ".", "dog" * 50]
        assert [running.pieces(index) for index in range(3)] == running.texts(0, 1, 2)
        assert running.thread.restarts == 1 and "memory" in running.thread.health.problem
        wait_for(lambda: running.thread.health.state is State.READY)
        running.ask(1)
        running.wait(1)


def test_what_waits_for_a_slot_outlives_a_pass_that_fails():
    """Questions are encoded ahead of their turn."""
    count = [0]

    def break_pass(length):
        count[0] += 1
        if count[0] == 10:
            raise RuntimeError("broken")

    lira = ScriptedLIRA(LONG, GROUNDED, GROUNDED)
    with Running(lira, batch_size=1) as running:
        lira.break_pass = break_pass
        running.ask(0, 1, 2)
        assert running.texts(0, 1, 2) == ["dog" * 90, "dog.", "dog."] and running.thread.restarts == 1


def test_a_request_that_breaks_its_batch_fails_alone():
    def decode_masks(states, features):
        if 1 in features:
            raise ValueError("this image breaks it")
        return decode(states, features)

    lira = ScriptedLIRA([*[10] * 20, *GROUNDED], GROUNDED, [*[10] * 9, *GROUNDED])
    decode, lira.grounder.decode_masks = lira.grounder.decode_masks, decode_masks
    with Running(lira) as running:
        running.ask(0, 1, 2)
        first, bad, third = running.wait(0, 1, 2)
        assert bad.error.status == 500 and "image" not in bad.error.message
        assert first.answer.spans[0].refined and third.answer.text == "dog" * 9 + "dog."
        wait_for(lambda: running.thread.health.state is State.READY)


def test_a_model_that_is_broken_is_loaded_again():
    broken = threading.Event()

    def break_pass(length):
        if broken.is_set():
            raise RuntimeError("device-side assert")

    first, second = ScriptedLIRA(LONG, GROUNDED, break_pass=break_pass), ScriptedLIRA(LONG, GROUNDED)
    models = iter([first, second])
    thread = scripted_thread(lambda: next(models))
    running = Running.__new__(Running)
    running.lira, running.news, running.thread = first, {}, thread
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lira_plugin.serving.model_thread._FIRST_PAUSE", 0.2)
        thread.start()
        wait_for(lambda: thread.health.state is State.READY)
    with running:
        running.ask(0)
        wait_for(lambda: running.news[0])
        broken.set()
        (failed,) = running.wait(0)
        assert failed.error.status == 500
        wait_for(lambda: thread.health.state is State.FAILED)
        with pytest.raises(ApiError, match="failed"):
            running.ask(1)
        wait_for(lambda: thread.health.state is State.READY)
        assert thread.lira is second
        running.ask(1)
        assert running.texts(1) == ["dog."]


def test_to_stop_writes_what_was_asked_for():
    with Running(ScriptedLIRA(LONG, GROUNDED), batch_size=1) as running:
        running.ask(0, 1)
        running.thread.stop(20)
        assert running.texts(0, 1) == ["dog" * 90, "dog."]
        with pytest.raises(ApiError) as raised:
            running.ask(1)
        assert raised.value.status == 503


def test_to_stop_without_patience_tells_all():
    let, wait = gate()
    lira = ScriptedLIRA(LONG, GROUNDED)
    with Running(lira, batch_size=1) as running:
        lira.break_pass = wait
        running.ask(0, 1)
        threading.Timer(0.3, let.set).start()
        running.thread.stop(0.05)
        cut, never = running.wait(0, 1)
        assert never.error.status == 503 and (cut.error is not None or cut.answer is not None)
        assert not running.thread._thread.is_alive()
