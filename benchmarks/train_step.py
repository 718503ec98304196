"""What a training step costs, in time and memory, and which part it goes to.

LIRA is compared with itself without SEFE, without ILVC, without either and with gradient checkpointing. Weights are random, and
the variants share them. Data are scenes, loaded in the same process, so that a step is measured from the files to the new
weights. The variants take turns in every round, and each sees the same records. Parts are timed in the forward pass; the
backward pass runs through all of them at once. On Linux or a CUDA device.

    python benchmarks/train_step.py --json benchmarks/train_step.json
    python benchmarks/train_step.py --recipe configs/lira/lira_2b.py   # no file of it is needed
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import resident_memory
import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, init_default_scope
from part_totals import PartTotals
from recipes_without_files import (
    CONFIGS,
    build_model,
    draw,
    is_full_size,
    provide_scenes,
    read_recipe,
    return_freed_memory,
)
from report import write_report
from tqdm import tqdm

from lira_plugin.datasets import ResumableSampler, fit_to_model, grounding_collate
from lira_plugin.models import LIRA
from lira_plugin.registry import DATASETS

CONFIG = CONFIGS / "lira_tiny" / "lira_tiny.py"
VARIANTS = {
    "LIRA": ("", True, False),
    "without SEFE": ("_no_sefe", True, False),
    "without ILVC": ("_no_ilvc", True, False),
    "without either": ("_no_sefe", False, False),
    "gradient checkpointing": ("", True, True),
}
"""Suffix of the recipe, whether views that it has stay, and whether the LLM recomputes its activations in any case."""
PARTS = ("data", "pixel encoder", "semantic encoder", "SEFE", "LLM", "mask decoder", "backward", "optimizer", "other")


@dataclass(frozen=True)
class Result:
    """One line of the table: medians over the rounds."""

    variant: str
    seconds: float
    """Of a step."""
    samples_per_s: float
    relative: float
    """Seconds against those of LIRA in the same round."""
    relative_low: float
    relative_high: float
    """The least and the greatest of these ratios."""
    step_mib: float
    """Memory that a step takes beyond weights and optimizer states."""
    shares: dict[str, float]
    """Of the seconds, by part."""


def now(device: torch.device) -> float:
    """Seconds, when the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Trainee:
    """A variant of the recipe that is trained step by step.

    Args:
        config: of the variant.
        batch: samples a step, otherwise the recipe's.
        like: LIRA itself, whose weights and optimizer states its variants share.
    """

    def __init__(self, config: Config, batch: int | None, device: torch.device, like: "Trainee | None" = None) -> None:
        torch.manual_seed(0)
        self.model: LIRA = build_model(config, partial(draw, device=device), like and like.model).to(device).train()
        loader = config.train_dataloader
        self.batch = batch or loader.batch_size
        self.records = fit_to_model(DATASETS.build(loader.dataset), self.model.input_spec)
        self.draws = iter(ResumableSampler(self.records, seed=0))
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        settings = dict(config.optim_wrapper.optimizer, params=trained, lr=1e-5)
        self.optimizer = like.optimizer if like else OPTIMIZERS.build(settings)
        self.device, self.clock = device, PartTotals(partial(now, device))
        for owner, name, part in (
            (self.model.pixel_encoder, "encode", "pixel encoder"),
            (self.model.semantic_encoder, "forward", "semantic encoder"),
            (self.model.sefe, "forward", "SEFE"),
            (self.model.llm, "forward", "LLM"),
            (self.model.mask_decoder, "forward", "mask decoder"),
            (self.model.mask_decoder, "loss", "mask decoder"),
        ):
            self.clock.watch(owner, name, part)

    def step(self) -> None:
        """From the files to new weights; a GPU runs in bf16 as the full-size recipes do."""
        device = self.device
        with self.clock.of("other"):
            with self.clock.of("data"):
                batch = grounding_collate([self.records[draw] for draw in islice(self.draws, self.batch)])
                batch = self.model.data_preprocessor(batch, training=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                losses = self.model(**batch, mode="loss")
            loss, _ = self.model.parse_losses(losses)
            with self.clock.of("backward"):
                loss.backward()
            with self.clock.of("optimizer"):
                self.optimizer.step()
                self.optimizer.zero_grad()


def build_trainees(recipe: Path, names: Sequence[str], batch: int | None, device: torch.device) -> dict[str, Trainee]:
    """Variants of a recipe, of which LIRA is the first; ``batch`` as in :class:`Trainee`."""
    trainees: dict[str, Trainee] = {}
    for name in names:
        suffix, views, checkpointing = VARIANTS[name]
        config = read_recipe(recipe.with_name(f"{recipe.stem}{suffix}.py"))
        if checkpointing:
            config.model.llm.gradient_checkpointing = True
        if not views:
            config.model.generation.ilvc = False
        trainees[name] = Trainee(config, batch, device, trainees.get("LIRA"))
    return trainees


def extra_memory(run: Callable[[], None], device: torch.device) -> float:
    """By how many MiB memory rises while ``run`` runs."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    resident_memory.forget_peak()
    before = resident_memory.current()
    run()
    return max(0.0, resident_memory.peak() - before)


def compare(trainees: dict[str, Trainee], steps: int, rounds: int, bar: tqdm) -> list[Result]:
    """Train each variant for ``steps`` steps in every round, in turn, after one step that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in trainees}
    memory: dict[str, list[float]] = {name: [] for name in trainees}
    for trainee in trainees.values():
        trainee.step()
        trainee.clock.counts.clear()
    for _ in range(rounds):
        for name, trainee in trainees.items():
            bar.set_postfix_str(name)
            start = trainee.clock.counts.total()
            rise = extra_memory(lambda t=trainee: [t.step() for _ in range(steps)], trainee.device)
            seconds[name].append((trainee.clock.counts.total() - start) / steps)
            memory[name].append(rise)
            bar.update()
    first = next(iter(seconds.values()))
    results = []
    for name, trainee in trainees.items():
        middle, total = statistics.median(seconds[name]), trainee.clock.counts.total()
        ratios = [own / other for own, other in zip(seconds[name], first)]
        results.append(
            Result(
                variant=name,
                seconds=round(middle, 4),
                samples_per_s=float(f"{trainee.batch / middle:.4g}"),
                relative=round(statistics.median(ratios), 3),
                relative_low=round(min(ratios), 3),
                relative_high=round(max(ratios), 3),
                step_mib=round(statistics.median(memory[name]), 1),
                shares={part: round(trainee.clock.counts[part] / total, 3) for part in PARTS},
            )
        )
    return results


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| variant | s/step | samples/s | against LIRA (spread) | step MiB | " + " | ".join(PARTS) + " |",
        "|" + " --- |" * (5 + len(PARTS)),
    ]
    for result in results:
        shares = [f"{result.shares[part]:.0%}" for part in PARTS]
        ratio = f"{result.relative:.2f}x ({result.relative_low:.2f}-{result.relative_high:.2f})"
        cells = [result.variant, result.seconds, result.samples_per_s, ratio, result.step_mib, *shares]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", type=Path, default=CONFIG, help="whose _no_sefe and _no_ilvc lie beside it")
    parser.add_argument(
        "--variants", nargs="*", choices=list(VARIANTS)[1:], default=list(VARIANTS)[1:], help="to compare LIRA with"
    )
    parser.add_argument("--batch", type=int, help="samples a step, otherwise the recipe's")
    parser.add_argument("--steps", type=int, default=10, help="steps a round; SOAP renews its bases at every tenth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope("lira_plugin")
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        provide_scenes(Path(folder), 200, size=640 if is_full_size(args.recipe) else 128)
        if is_full_size(args.recipe):
            return_freed_memory()
        trainees = build_trainees(args.recipe, ["LIRA", *args.variants], args.batch, device)
        with tqdm(total=len(trainees) * args.rounds) as bar:
            results = compare(trainees, args.steps, args.rounds, bar)
    print(table(results))
    if args.json:
        write_report(args.json, results, device, recipe=args.recipe.stem, steps=args.steps, rounds=args.rounds)


if __name__ == "__main__":
    main()
