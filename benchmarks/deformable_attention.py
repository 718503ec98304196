"""What sampling takes in one layer of deformable attention: mmcv's PyTorch function, ours, and on a GPU mmcv's compiled operator.

python benchmarks/deformable_attention.py --json benchmarks/deformable_attention.json
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from report import write_report
from torch import Tensor
from tqdm import tqdm

import lira_plugin  # noqa: F401  (makes mmcv importable without compiled operators)

# isort: split
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch

from lira_plugin.compat.mmcv_ops import has_compiled_ops
from lira_plugin.models.pixel_encoder.deformable_attention import sample_levels


@dataclass(frozen=True)
class Case:
    """Shapes of a layer."""

    name: str
    images: int
    sizes: tuple[tuple[int, int], ...]
    heads: int
    channels: int
    points: int = 4


CASES = (
    Case("tiny recipe, batch of 16", 16, ((6, 6), (6, 6), (12, 12)), 4, 16),
    Case("1024 pixels", 1, ((32, 32), (64, 64), (128, 128)), 8, 32),
)
MODES = ("training", "inference")


@dataclass(frozen=True)
class Result:
    """One line of the table: seconds are medians, ratios are of the same round."""

    case: str
    mode: str
    variant: str
    milliseconds: float
    against_mmcv: float
    least: float
    greatest: float


def variants(device: torch.device) -> dict[str, Callable[[Case, Tensor, Tensor, Tensor], Tensor]]:
    """What is compared; all give the same up to rounding."""

    def mmcv(case: Case, *inputs: Tensor) -> Tensor:
        value, *rest = inputs
        return multi_scale_deformable_attn_pytorch(value, torch.tensor(case.sizes, device=device), *rest)

    def compiled(case: Case, *inputs: Tensor) -> Tensor:
        sizes = torch.tensor(case.sizes, device=device)
        starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
        return MultiScaleDeformableAttnFunction.apply(inputs[0], sizes, starts, *inputs[1:], 64)

    found = {
        "mmcv in PyTorch": mmcv,
        "level by level": lambda case, value, *rest: sample_levels(value, case.sizes, *rest),
    }
    if device.type == "cuda" and has_compiled_ops():
        found["mmcv compiled"] = compiled
    return found


def seconds(sample: Callable[..., Tensor], case: Case, inputs: list[Tensor], upstream: Tensor, mode: str) -> float:
    """One call, with its backward pass in training."""
    start = time.perf_counter()
    if mode == "training":
        torch.autograd.grad(sample(case, *inputs), inputs, upstream)
    else:
        with torch.inference_mode():
            sample(case, *inputs)
    if upstream.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(case: Case, rounds: int, device: torch.device, bar: tqdm) -> list[Result]:
    """Results of one case; the first round warms up."""
    torch.manual_seed(0)
    cells, levels = sum(height * width for height, width in case.sizes), len(case.sizes)
    shape = (case.images, cells, case.heads, levels, case.points)
    inputs = [torch.randn(case.images, cells, case.heads, case.channels), torch.rand(*shape, 2), torch.rand(shape)]
    inputs = [tensor.to(device).requires_grad_() for tensor in inputs]
    upstream = torch.randn(case.images, cells, case.heads * case.channels, device=device)
    results, samplers = [], variants(device)
    for mode in MODES:
        spent: dict[str, list[float]] = {name: [] for name in samplers}
        for round_index in range(rounds + 1):
            for name, sample in samplers.items():
                time_of_one = seconds(sample, case, inputs, upstream, mode)
                if round_index:
                    spent[name].append(time_of_one)
            bar.update()
        for name, own in spent.items():
            ratios = [ours / theirs for ours, theirs in zip(own, spent["mmcv in PyTorch"])]
            figures = (1e3 * statistics.median(own), statistics.median(ratios), min(ratios), max(ratios))
            results.append(Result(case.name, mode, name, *(round(figure, 2) for figure in figures)))
    return results


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = ["| layer | mode | variant | ms | against mmcv in PyTorch (spread) |", "|" + " --- |" * 5]
    for result in results:
        ratio = f"{result.against_mmcv:.2f}x ({result.least:.2f}-{result.greatest:.2f})"
        lines.append(f"| {result.case} | {result.mode} | {result.variant} | {result.milliseconds} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    with tqdm(desc="rounds", total=len(CASES) * len(MODES) * (args.rounds + 1)) as bar:
        results = [result for case in CASES for result in compare(case, args.rounds, device, bar)]
    print(table(results))
    if args.json:
        write_report(args.json, results, device, rounds=args.rounds)


if __name__ == "__main__":
    main()
