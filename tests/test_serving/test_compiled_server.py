"""A compiled model behind the server's thread: its answers, and what is compiled before its first client asks."""

import time

import pytest
from support.scripted_llm import alike
from support.serving import wait_for
from support.tiny_recipes import tiny_inferencer
from torch import Tensor
from torch.utils import _pytree as pytree

from lira_plugin.inference import Prompt
from lira_plugin.models import compiled_parts
from lira_plugin.models.generation import compiled_pass
from lira_plugin.serving.job import Job
from lira_plugin.serving.model_thread import ModelThread, State


@pytest.fixture
def graphs(monkeypatch):
    """What torch would make a graph of: parts by whether each size of their tensors is 1, as torch tells them apart."""
    found = set()

    def recorded(function, backend, **options):
        def run(*args):
            sizes = [arg for arg in pytree.tree_leaves(args) if isinstance(arg, Tensor)]
            found.add((function.__qualname__, *(tuple(size == 1 for size in one.shape) for one in sizes)))
            return function(*args)

        return run

    for module in (compiled_parts, compiled_pass):
        monkeypatch.setattr(module, "compiled", recorded)
    return found


def test_answers_are_those_of_the_model_and_no_client_waits_for_a_graph(graphs, photos):
    lira, pixels = tiny_inferencer(), photos[1]
    asked = [(0, "Please segment cup."), (1, "What is it?"), (0, "Describe the image.")]
    prompts = [Prompt(f"image {image}", pixels[image], question) for image, question in asked]
    expected = [next(lira.iterate(prompt.image, prompt.question)).answer for prompt in prompts]
    assert sum("<image_id>" in answer.raw_text and len(answer.spans) > 1 for answer in expected) > 1, "several masks"
    compiled_parts.compile_parts(lira.model, "aot_eager")
    lira.backend = "aot_eager"
    thread = ModelThread(lambda: lira, batch_size=4)
    thread.start()
    try:
        wait_for(lambda: thread.health.state is not State.LOADING)
        made = set(graphs)
        assert len({name for name, *_ in made}) == 4, "of each part"
        for indices in ([1], [0, 1, 2]):
            for index, answer in answers_of(thread, {index: prompts[index] for index in indices}).items():
                alike(answer, expected[index])
        assert graphs == made
        with pytest.raises(RuntimeError, match="'lira-model' asked it first"):
            lira(prompts[0].image, prompts[0].question)
    finally:
        thread.stop(5)


def answers_of(thread, prompts):
    """Answers of questions that are asked together, by index."""
    news, jobs = {}, []
    for index, prompt in prompts.items():
        sample = thread.lira.sample(prompt, index=index)
        tell = lambda one, index=index: news.update({index: one})  # noqa: E731
        jobs.append(Job(sample, prompt.name, thread.generator.decoding, "me", time.monotonic() + 30, tell))
    thread.submit(jobs)
    wait_for(lambda: len(news) == len(jobs))
    return {index: one.answer for index, one in news.items()}
