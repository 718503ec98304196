"""All that a GPU can tell, in one go: how fast LIRA decodes, segments and trains, and how much memory that takes.

Weights are random and need no files; answers are given, and the model does all the work for them. Each part is written down as
soon as it is measured. A part that the file has is not measured again, so a run that was stopped goes on where it was.

    python benchmarks/gpu.py --json benchmarks/gpu.json                 # LIRA-2B in bf16
    python benchmarks/gpu.py --tiny --device cpu --json /tmp/gpu.json   # the same steps in seconds, to try them
"""

import argparse
import gc
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import generation
import resident_memory
import torch
import train_step
from mmengine.registry import init_default_scope
from recipes_without_files import CONFIGS, build_model, draw, provide_scenes, read_recipe
from report import write_report
from tqdm import tqdm

from lira_plugin.datasets import fit_to_model
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.models import LIRA
from lira_plugin.models.compiled_parts import compile_parts
from lira_plugin.models.generation import InterleavedGenerator, Request

ANCHORS = {
    "transformers, eager, LLM of 1.5 B, A100, batch 1": "about 40 tokens/s",
    "vLLM, LLM of 1.5 B, A100, batch 1": "183 tokens/s",
}
"""Rates that others have published."""
PHRASE = " red circle"


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    part: str
    variant: str
    batch: int
    rate: float
    unit: str
    memory_mib: float
    """Most memory that was in use: on a GPU that of tensors, else that of the process. Of a training step, what it adds."""
    first_s: float
    """Seconds of the run before, which is not counted; it compiles what is to be compiled."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        recipe: of LIRA; recipes with ``_no_sefe`` and ``_no_ilvc`` lie beside it.
        device: where.
        backend: of ``torch.compile``.
        batches: answers at a time of the decoding.
        new_tokens: tokens of an answer there.
        images: with eight expressions each, for the segmentation.
        segment_batch: answers at a time there.
        train_batch: samples of a training step; None takes those of the recipe.
        steps: of training.
    """

    recipe: Path
    device: torch.device
    backend: str
    batches: tuple[int, ...]
    new_tokens: int
    images: int
    segment_batch: int
    train_batch: int | None
    steps: int


def full_plan(device: torch.device) -> Plan:
    """LIRA-2B, in about a quarter of an hour."""
    return Plan(CONFIGS / "lira" / "lira_2b.py", device, "inductor", (1, 4, 16, 64), 64, 8, 16, None, 4)


def tiny_plan(device: torch.device) -> Plan:
    """The tiny recipe, to see that everything runs."""
    return Plan(CONFIGS / "lira_tiny" / "lira_tiny.py", device, "aot_eager", (1, 2), 2, 1, 2, 2, 1)


class Answering:
    """A model with random weights that answers what it is told to.

    Args:
        plan: what is measured.
        suffix: of the recipe's name.
        compiled: whether it runs compiled.
    """

    def __init__(self, plan: Plan, suffix: str = "", compiled: bool = False) -> None:
        torch.manual_seed(0)
        config = read_recipe(plan.recipe.with_name(f"{plan.recipe.stem}{suffix}.py"))
        self.device = plan.device
        self.model: LIRA = build_model(config, partial(draw, device=plan.device)).to(plan.device).eval()
        if hasattr(self.model.llm.model, "merge_and_unload"):
            self.model.llm.merge_lora()  # as for use
        if plan.device.type == "cuda":
            self.model.bfloat16()
        if compiled:
            compile_parts(self.model, plan.backend)
        pipeline = fit_to_model(build_pipeline(config.test_dataloader.dataset.pipeline), self.model.input_spec)
        self.samples = generation.make_tasks(plan.images, pipeline)[0].samples

    def decode(self, batch: int, new_tokens: int) -> tuple[float, float, float]:
        """Tokens a second behind the prompts, memory, and seconds of the first run."""
        word = self.model.tokenizer(PHRASE, add_special_tokens=False)["input_ids"][-1]
        samples = (self.samples * batch)[:batch]
        with torch.inference_mode():
            requests = list(generation.queue(self.model, samples, batch))
        answer = partial(self._answer, requests, [word] * (new_tokens + 1), batch)
        (_, first, _), (_, short, _) = self._timed(partial(answer, new_tokens + 1)), self._timed(partial(answer, 1))
        _, long, memory = self._timed(partial(answer, new_tokens + 1))
        return batch * new_tokens / max(long - short, 1e-9), memory, first

    def segment(self, batch: int, ilvc: bool) -> tuple[float, float, float]:
        """Expressions a second from images to masks, memory, and seconds of the first run."""
        tokens, text = self.model.tokenizer, f" <p>{PHRASE} </p> <seg>."
        if ilvc:
            text = f"<seg><image_id>{text}"
        names = {"<seg>": "seg", "<image_id>": "image_id", "<p>": "phrase_start", "</p>": "phrase_end"}
        for written, name in names.items():
            text = text.replace(written, tokens.convert_ids_to_tokens(getattr(self.model.ids, name)))
        ids = tokens(text, add_special_tokens=False)["input_ids"]

        def run() -> int:
            requests = generation.queue(self.model, self.samples, batch)
            return self._answer(requests, ids, batch, len(ids) + 1, ilvc=ilvc)

        (_, first, _), (masks, seconds, memory) = self._timed(run), self._timed(run)
        assert masks == len(self.samples), f"{masks} masks of {len(self.samples)} expressions"
        return len(self.samples) / seconds, memory, first

    def _answer(
        self, requests: Iterator[Request] | list[Request], ids: list[int], batch: int, limit: int, **decoding: Any
    ) -> int:
        """Answer with the tokens ``ids``; the count of masks."""
        generator = self.model.generator(batch_size=batch, max_new_tokens=limit, **decoding)
        answer_with(generator, ids)
        return sum(len(answer.spans) for answer in generator(requests))

    def _timed(self, run: Callable[[], int]) -> tuple[int, float, float]:
        """What a run gives, its seconds, and the most memory meanwhile in MiB."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            resident_memory.forget_peak()
        start = train_step.now(self.device)
        found = run()
        seconds = train_step.now(self.device) - start
        if self.device.type == "cuda":
            return found, seconds, torch.cuda.max_memory_allocated(self.device) / 2**20
        return found, seconds, resident_memory.peak()


def answer_with(generator: InterleavedGenerator, ids: list[int]) -> None:
    """Let a generator write ``ids`` and the end token, whatever it samples: all of its work is done, and then left."""
    sample, ids = generator._sample, [*ids, generator.stop.end_id]

    def write(states: list, hidden: torch.Tensor) -> list[tuple[list[int], list[float]]]:
        return [
            ([ids[len(state.ids)]] if tokens else [], log_probs)
            for state, (tokens, log_probs) in zip(states, sample(states, hidden), strict=True)
        ]

    generator._sample = write


def measure_decoding(plan: Plan, compiled: bool) -> Iterator[Result]:
    """Tokens a second at each batch size."""
    answering = Answering(plan, compiled=compiled)
    for batch in plan.batches:
        rate, memory, first = answering.decode(batch, plan.new_tokens)
        yield _result("decode", "compiled" if compiled else "eager", batch, rate, "tokens/s", memory, first)


def measure_segmentation(plan: Plan, variant: str, suffix: str = "", ilvc: bool = True, compiled: bool = False):
    """Expressions a second."""
    batch = plan.segment_batch
    found = Answering(plan, suffix, compiled).segment(batch, ilvc)
    yield _result("RefSeg", variant, batch, found[0], "expressions/s", *found[1:])


def measure_training(plan: Plan, variants: tuple[str, ...]) -> Iterator[Result]:
    """Samples a second of LIRA and of its variants, and what a step adds to the memory."""
    trainees = train_step.build_trainees(plan.recipe, ["LIRA", *variants], plan.train_batch, plan.device)
    start = train_step.now(plan.device)
    results = train_step.compare(trainees, plan.steps, 1, tqdm(disable=True))
    seconds = train_step.now(plan.device) - start
    for result in results:
        batch = trainees[result.variant].batch
        first = seconds / len(results) - plan.steps * result.seconds
        yield _result("training", result.variant, batch, result.samples_per_s, "samples/s", result.step_mib, first)


def _result(part: str, variant: str, batch: int, rate: float, unit: str, memory: float, first: float) -> Result:
    return Result(part, variant, batch, float(f"{rate:.4g}"), unit, round(memory, 1), round(first, 2))


def parts_of(plan: Plan) -> dict[str, Callable[[], Iterator[Result]]]:
    """What can be measured by itself, the most wanted first."""
    return {
        "decode eager": partial(measure_decoding, plan, compiled=False),
        "RefSeg": partial(measure_segmentation, plan, "eager"),
        "decode compiled": partial(measure_decoding, plan, compiled=True),
        "RefSeg compiled": partial(measure_segmentation, plan, "compiled", compiled=True),
        "training": partial(measure_training, plan, ("without SEFE", "without ILVC")),
        "RefSeg without SEFE": partial(measure_segmentation, plan, "eager, without SEFE", suffix="_no_sefe"),
        "RefSeg without ILVC": partial(measure_segmentation, plan, "eager, without ILVC", ilvc=False),
    }


class Report:
    """The file of what was measured.

    Args:
        path: of the file, which may be there from a run that was stopped.
        plan: what is measured; a file of another recipe or device is not gone on with.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self.settings = {"recipe": plan.recipe.stem, "backend": plan.backend, "new_tokens": plan.new_tokens}
        self.results: list[Result] = []
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            if {name: found.get(name) for name in self.settings} != self.settings:
                raise SystemExit(f"{path} holds the results of another plan ({found.get('recipe')}): give another file")
            self.results, self.done = [Result(**row) for row in found["rows"]], found["done"]

    def add(self, name: str, measure: Callable[[], Iterator[Result]]) -> None:
        """Measure a part and write it down; one that fails is noted, and may be measured by the next run."""
        try:
            self.results += list(measure())
            self.done.append(name)
        except RuntimeError as error:  # of memory, or of a compiler
            logging.exception("%s failed", name)
            self.failed[name] = f"{type(error).__name__}: {str(error).strip():.200}"
        write_report(
            self.path,
            self.results,
            self.plan.device,
            **self.settings,
            anchors=ANCHORS,
            done=self.done,
            failed=self.failed,
        )


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = ["| part | variant | batch | rate | memory MiB | first run s |", "|" + " --- |" * 6]
    for result in results:
        cells = [result.part, result.variant, result.batch, f"{result.rate} {result.unit}"]
        lines.append("| " + " | ".join(map(str, [*cells, result.memory_mib, result.first_s])) + " |")
    return "\n".join(lines)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, required=True, help="the results, written after each part")
    parser.add_argument("--tiny", action="store_true", help="the tiny recipe and few tokens: finishes in seconds")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="some parts only, by name")
    parser.add_argument("--minutes", type=float, default=13.0, help="begin no part after so many")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args, start = parse_args(arguments), time.monotonic()
    init_default_scope("lira_plugin")
    device = torch.device(args.device)
    plan = tiny_plan(device) if args.tiny else full_plan(device)
    report, parts = Report(args.json, plan), parts_of(plan)
    if unknown := set(args.parts or ()) - parts.keys():
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    wanted = [name for name in parts if name not in report.done and name in (args.parts or parts)]
    with tempfile.TemporaryDirectory() as folder:
        provide_scenes(Path(folder), 8 if args.tiny else 64, plan.images, size=128 if args.tiny else 640)
        for name in tqdm(wanted, desc="parts"):
            if time.monotonic() - start > 60 * args.minutes:
                break
            report.add(name, parts[name])
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    print(table(report.results))
    return int(bool(report.failed))


if __name__ == "__main__":
    raise SystemExit(main())
