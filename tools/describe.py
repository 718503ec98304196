"""Say what a recipe amounts to, without weights: parameters, visual tokens, sequence length, estimated memory."""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from lira_plugin.command_end import run_command
from lira_plugin.describe import describe_recipe
from lira_plugin.recipes import read_recipe
from lira_plugin.written_aside import write_json


def size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(height), int(width)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="recipe")
    parser.add_argument("--json", type=Path, help="write all of it there")
    parser.add_argument(
        "--sizes", type=size, nargs="+", default=[(480, 640), (640, 480), (1080, 1920), (500, 500)], metavar="WxH"
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2, 8, 16], help="how many GPUs")
    parser.add_argument("--text", type=int, default=256, help="text tokens of a sample, half of them supervised")
    parser.add_argument("--regions", type=int, default=3, help="region views of a sample")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="settings to replace, as key=value")
    return parser.parse_args()


def report(name: str, described: dict[str, Any]) -> str:
    lines = [name, "", f"{'part':<20}{'parameters':>16}{'trained':>16}"]
    rows = [*described["parts"].items(), ("all", described)]
    lines += [f"{part:<20}{sizes['total']:>16,}{sizes['trainable']:>16,}" for part, sizes in rows]
    if described["base"]:
        lines.append(
            f"{'base':<20}{described['base']:>16,}  (semantic encoder and LLM, without new tokens and adapters)"
        )
    if "sequence" in described:
        lines += ["", *report_sequence(described["sequence"])]
    lines += ["", "GB a GPU (an estimate; a CUDA context and fragmentation come on top)"]
    lines.append(f"{'':<8}{'GPUs':>6}{'weights':>10}{'gradients':>11}{'optimizer':>11}{'activations':>13}{'total':>8}")
    for engine, by_gpus in described["memory_gb"].items():
        previous: dict[str, float] = {}
        for count, gb in by_gpus.items():
            if gb == previous:  # nothing is divided
                continue
            previous = gb
            sizes = f"{gb['weights']:>10.1f}{gb['gradients']:>11.1f}{gb['optimizer']:>11.1f}{gb['activations']:>13.1f}"
            lines.append(f"{engine:<8}{count:>6}{sizes}{gb['total']:>8.1f}")
    if "inference_gb" in described:
        gb = described["inference_gb"]
        lines.append(f"answering in bf16: weights {gb['weights']:.1f}, keys and values of a sequence {gb['cache']:.2f}")
    return "\n".join([*lines, *(f"note: {note}" for note in described["notes"])])


def report_sequence(sequence: dict[str, Any]) -> list[str]:
    lines = [f"{'image':<12}{'tiles':>6}{'semantic':>10}{'pixels':>8}{'objects':>9}{'all':>7}"]
    for name, counts in sequence["images"].items():
        line = f"{counts['tiles']:>6}{counts['semantic']:>10}{counts['pixels']:>8}{counts['objects']:>9}{counts['total']:>7}"
        lines.append(f"{name:<12}{line}")
    return [
        *lines,
        f"a view: {sequence['region']} positions; text: at most {sequence['max_text']} tokens",
        f"memory is for {sequence['batch_size']} x {sequence['length']} positions: the first image, "
        f"{sequence['text']} text tokens, {sequence['regions']} regions",
    ]


def main() -> None:
    args = parse_args()
    config = read_recipe(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    described = describe_recipe(config, args.sizes, args.gpus, args.text, args.regions)
    print(report(str(args.config), described))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.json, described, indent=1)


if __name__ == "__main__":
    run_command(main)
