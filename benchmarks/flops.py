"""Arithmetic of a training step of the full-size recipes, counted without weights, data and GPU.

A step runs as it would, on scenes of 640 pixels with a batch of one, but for its products: matrix products, convolutions and
attention are counted, and give zeros; the decoder of the LLM is run on the meta device. Each kind of sample is counted by
itself, and their mean is weighted as the paper's mixture is. A recomputation (gradient checkpointing) counts as often as it
is done.

    python benchmarks/flops.py --json benchmarks/flops.json   # eleven minutes on two cores
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from part_totals import PartTotals
from recipes_without_files import CONFIGS, build_model, draw, nothing, provide_scenes, read_recipe, return_freed_memory
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from tqdm import tqdm

from lira_plugin.datasets import ResumableSampler, fit_to_model, grounding_collate
from lira_plugin.models import InterleavedLLM
from lira_plugin.registry import DATASETS

RECIPES = ("lira_2b", "lira_8b")
VARIANTS = {"LIRA": "", "without SEFE": "_no_sefe", "without ILVC": "_no_ilvc"}
KINDS = {"segmentation": 168, "caption": 206, "question": 411}
"""In the order of the recipe's data, with the thousands of samples of the paper's mixture."""
PARTS = ("pixel encoder", "semantic encoder", "LLM", "other", "backward")


def attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of attention on a CPU, which PyTorch does not count."""
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def attention_backward_flops(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of its backward pass."""
    return sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape)


FORMULAS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}
"""From arguments and result of an operator to its FLOP."""


class ProductCounter(TorchDispatchMode):
    """Counts matrix products, convolutions and attention, and gives zeros in their place.

    Args:
        compute: give their results instead.
    """

    def __init__(self, compute: bool = False) -> None:
        super().__init__()
        self.compute, self.total = compute, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = FORMULAS.get(func._overloadpacket)
        if formula is None:
            return func(*args, **kwargs)
        on_meta = any(isinstance(arg, torch.Tensor) and arg.is_meta for arg in args)
        if not self.compute:
            args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        result = func(*args, **kwargs)
        self.total += formula(*args, **kwargs, out_val=result)
        if self.compute or on_meta:
            return result
        return tree_map_only(torch.Tensor, lambda tensor: torch.zeros_like(tensor, device="cpu"), result)


class DecoderOnMeta(torch.autograd.Function):
    """The decoder stack of an LLM, run forward and backward without memory: shapes are all that it depends on."""

    @staticmethod
    def forward(ctx: Any, embeddings: torch.Tensor, llm: InterleavedLLM) -> torch.Tensor:
        """Zeros, (1, L, H)."""
        with torch.enable_grad():
            ctx.hidden = llm.hidden_states(torch.empty_like(embeddings, device="meta").requires_grad_())
        return torch.zeros(ctx.hidden.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Zeros, too."""
        ctx.hidden.backward(torch.empty_like(ctx.hidden))
        return torch.zeros_like(gradient), None


def llm_on_meta(config: Config) -> InterleavedLLM:
    """The LLM without what PyTorch does not do on the meta device: rotary angles, and the random state of a recomputation."""
    llm = build_model(config, lambda name, blank: blank.detach()).llm.train()
    rotary = llm.causal_lm.base_model.rotary_emb
    width = 2 * len(rotary.inv_freq)
    rotary.forward = lambda hidden, positions: 2 * (hidden.new_empty(*positions.shape, width),)
    if llm.causal_lm.is_gradient_checkpointing:
        if not hasattr(torch, "meta"):
            torch._register_device_module("meta", ModuleType("meta"))  # asked for, and not used
        llm.causal_lm.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    return llm


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    recipe: str
    variant: str
    kind: str
    """Of sample, or "mixture"."""
    rows: float
    """Of the LLM's sequence; a mean, as all that follow are."""
    views: float
    """Of regions."""
    tflop: float
    """Of a step with one sample."""
    relative: float
    """Against LIRA on the same samples."""
    shares: dict[str, float]
    """Of the arithmetic, by part; the backward pass is not divided."""


def watch_without_products(parts: PartTotals, owner: Any, name: str, part: str) -> None:
    """Count a method; one of a frozen module is run once for each shape, for it costs the same again, and gives zeros."""
    parts.watch(owner, name, part)
    if any(parameter.requires_grad for parameter in owner.parameters()):
        return
    run = getattr(owner, name)
    known: dict[torch.Size, tuple[Any, float]] = {}

    def replayed(images: torch.Tensor) -> Any:
        if images.shape not in known:
            before = parts.counts[part]
            known[images.shape] = run(images), parts.counts[part] - before
        else:
            parts.counts[part] += known[images.shape][1]
        return known[images.shape][0]

    setattr(owner, name, replayed)


def count_steps(config: Config, num_samples: int, real: bool = False) -> dict[str, Counter[str]]:
    """FLOP of steps with one sample each by part, and "rows" and "views", by kind; means over the samples of a kind.

    Args:
        config: the recipe.
        num_samples: of each kind.
        real: do the arithmetic as well, with random weights.
    """
    model = build_model(config, draw if real else nothing).train()
    if not real:
        decoder = llm_on_meta(config)
        model.llm.hidden_states = lambda embeddings, **masks: DecoderOnMeta.apply(embeddings, decoder)
    counter = ProductCounter(compute=real)
    parts = PartTotals(lambda: counter.total)
    watch = parts.watch if real else partial(watch_without_products, parts)
    watch(model.pixel_encoder, "encode", "pixel encoder")
    watch(model.semantic_encoder, "forward", "semantic encoder")
    parts.watch(model.llm, "forward", "LLM")
    data = config.train_dataloader.dataset
    counted = {}
    for kind, entry in zip(KINDS, data.datasets, strict=True):
        records = fit_to_model(DATASETS.build({**data, "datasets": [entry]}), model.input_spec)
        parts.counts.clear()
        for sample in map(records.__getitem__, islice(ResumableSampler(records, seed=0), num_samples)):
            batch = model.data_preprocessor(grounding_collate([sample]), training=True)
            parts.counts += Counter(rows=batch["batch"].input_ids.shape[1], views=len(batch["batch"].view_tiles))
            with counter, parts.of("other"):
                losses = model(**batch, mode="loss")
                with parts.of("backward"):
                    model.parse_losses(losses)[0].backward()
            model.zero_grad()
        counted[kind] = Counter({part: count / num_samples for part, count in parts.counts.items()})
    return counted


def mixture(counted: Mapping[str, Counter[str]]) -> Counter[str]:
    """The mean over kinds, weighted as the paper's data are."""
    mean: Counter[str] = Counter()
    for kind, weight in KINDS.items():
        mean.update({part: count * weight / sum(KINDS.values()) for part, count in counted[kind].items()})
    return mean


def results_of(recipe: str, counted: Mapping[str, Mapping[str, Counter[str]]]) -> list[Result]:
    """The lines of a recipe, from counts by variant and kind."""
    results = []
    for kind in ("mixture", *KINDS):
        full = 0.0
        for variant, kinds in counted.items():
            counts = mixture(kinds) if kind == "mixture" else kinds[kind]
            total = sum(counts[part] for part in PARTS)
            full = full or total
            results.append(
                Result(
                    recipe=recipe,
                    variant=variant,
                    kind=kind,
                    rows=round(counts["rows"], 1),
                    views=round(counts["views"], 2),
                    tflop=round(total / 1e12, 2),
                    relative=round(total / full, 3),
                    shares={part: round(counts[part] / total, 3) for part in PARTS},
                )
            )
    return results


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| recipe | sample | variant | rows | views | TFLOP/step | against LIRA | " + " | ".join(PARTS) + " |",
        "|" + " --- |" * (7 + len(PARTS)),
    ]
    for result in results:
        cells = [
            result.recipe,
            result.kind,
            result.variant,
            result.rows,
            result.views,
            result.tflop,
            f"{result.relative:.2f}x",
        ]
        lines.append("| " + " | ".join([*map(str, cells), *(f"{result.shares[part]:.0%}" for part in PARTS)]) + " |")
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="whose _no_sefe and _no_ilvc lie beside them")
    parser.add_argument("--samples", type=int, default=4, help="of each kind")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope("lira_plugin")
    return_freed_memory()
    torch.backends.mha.set_fastpath_enabled(False)  # its attention is not counted
    results = []
    with tempfile.TemporaryDirectory() as folder, tqdm(total=len(args.recipes) * len(VARIANTS)) as bar:
        provide_scenes(Path(folder), 40, size=640, progress=False)
        for recipe in args.recipes:
            counted = {}
            for variant, suffix in VARIANTS.items():
                bar.set_postfix_str(f"{recipe} {variant}")
                counted[variant] = count_steps(read_recipe(CONFIGS / "lira" / f"{recipe}{suffix}.py"), args.samples)
                bar.update()
            results += results_of(recipe, counted)
    print(table(results))
    if args.json:
        report = {"torch": torch.__version__, "samples": args.samples, "rows": [asdict(result) for result in results]}
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
