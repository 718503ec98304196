"""A model that follows scripts, as the server's thread has it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from lira_plugin.serving.job import Job
from lira_plugin.serving.model_thread import ModelThread
from lira_plugin.structures import TokenKind
from support.scripted_llm import ScriptedGrounder, generator, request


class ScriptedLIRA:
    """Answers the question whose ``index`` is that of a script; the thread's own test is the last script.

    Args:
        scripts: of answers.
        break_pass: is called before each pass with the count of its answers, and may raise or wait.
        break_encoding: is called before a prompt is encoded with its index, and may raise.
    """

    backend = None

    def __init__(self, *scripts, break_pass=lambda length: None, break_encoding=lambda index: None):
        self.grounder = ScriptedGrounder(*scripts, [13])
        self.break_pass, self.break_encoding = break_pass, break_encoding
        self.encoded = []
        self.model = SimpleNamespace(generator=self.generator)
        self.cache = ScriptedCache()
        run = self.grounder.llm.run

        def breakable(embeds, cache):
            self.break_pass(len(embeds))
            return run(embeds, cache)

        self.grounder.llm.run = breakable

    def generator(self, batch_size=4):
        return generator(self.grounder, batch_size)

    def sample(self, prompt, **settings):
        return sample_of(len(self.grounder.llm.scripts) - 1)

    def requests(self, samples, encode=None):
        for sample in samples:
            self.break_encoding(sample.index)
            self.encoded.append(sample.index)
            yield request(sample.index)


class ScriptedCache:
    """Has nothing to forget."""

    cleared = 0

    def clear(self):
        self.cleared += 1


class ScriptedEncoder:
    """Makes the requests of a scripted model."""

    def __init__(self, lira, cache_bytes):
        self.lira, self.cache = lira, lira.cache

    def requests(self, jobs):
        made = [(job, request) for job in jobs for request in self.lira.requests([job.sample])]
        return [replace(one, in_pieces=job.in_pieces, is_abandoned=job.is_abandoned) for job, one in made]


def scripted_thread(load, **settings):
    """A thread of a scripted model, not started."""
    thread = ModelThread(load, **settings)
    thread.make_encoder = ScriptedEncoder
    return thread


def sample_of(index):
    kinds = torch.full((2,), int(TokenKind.TEXT))
    return SimpleNamespace(index=index, kinds=kinds, input_ids=kinds, image=np.zeros((4, 4, 3), np.uint8))


def job_of(index, decoding, tell, deadline, client="me", **settings):
    return Job(sample_of(index), f"image {index}", decoding, client, deadline, tell, **settings)
