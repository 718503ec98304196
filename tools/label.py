"""Answer questions about many images, and go on where an earlier run ended: docs/serve.md.

    lira label photos/ answers.jsonl --question "Describe the image." --model work_dirs/tiny/lira
    lira label questions.jsonl answers.parquet --model recipe.py --weights checkpoint.pth --batch-size 64

A JSON Lines file has {"id": "1", "image": "a.jpg", "question": "..."} a line, with images relative to it. A parquet file has
these columns, with images as paths or as bytes.
"""

import argparse
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from lira_plugin.command_end import run_command
from lira_plugin.end_signals import end_cleanly_on_signals
from lira_plugin.inference import LIRAInferencer
from lira_plugin.labelling.label_inputs import LabelInput
from lira_plugin.labelling.label_outputs import open_output
from lira_plugin.labelling.labeller import Labeller, label, records_left, write_entries
from lira_plugin.models.generation import Decoding


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="folder of images, .jsonl file, .parquet file, or folder of such")
    parser.add_argument("out", type=Path, help=".jsonl file, or a folder NAME.parquet of parquet files")
    parser.add_argument(
        "--question", action="append", default=[], help="for records that have none; several for a folder"
    )
    parser.add_argument("--model", "--config", help="recipe or work dir; by default the work dir of --weights")
    parser.add_argument("--weights", help="checkpoint file or work dir; by default those of the work dir --model")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    parser.add_argument("--dtype", help="cast the weights, such as bfloat16; by default they stay as they are")
    parser.add_argument("--quantize", choices=("int8", "nf4"), help="the LLM in fewer bits, the rest in bfloat16")
    parser.add_argument("--force", action="store_true", help="segment what 'Please segment X.' names, whatever is said")
    group = parser.add_argument_group("settings", "those not given are the recipe's")
    group.add_argument("--batch-size", type=int, help="answers written at the same time")
    group.add_argument("--threshold", type=float, help="probability from which on a pixel belongs to a mask")
    group.add_argument("--ilvc", action=argparse.BooleanOptionalAction, help="whether the model may look at regions")
    group.add_argument("--max-new-tokens", type=int)
    group.add_argument("--sample", dest="do_sample", action="store_true", default=None, help="draw tokens")
    group.add_argument("--temperature", type=float)
    group.add_argument("--top-p", type=float)
    group.add_argument("--seed", type=int, help="of --sample")
    group = parser.add_argument_group("cluster", "docs/serve.md")
    group.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster; without ADDRESS on one of this machine",
    )
    group.add_argument("--ray-workers", type=int, help="models at work; by default one a GPU, or one for two CPUs")
    args = parser.parse_args(arguments)
    if args.ray is not None and find_spec("ray") is None:
        parser.error("--ray needs Ray: uv sync --extra ray, or pip install -e '.[ray]'")
    if args.input.is_dir() and args.out.resolve().is_relative_to(args.input.resolve()):
        parser.error(
            f"{args.out} lies in {args.input}, which a later run would read as its input: choose another folder"
        )
    if args.model is None and args.weights is None:
        parser.error("say with --model or --weights which model to ask")
    return args


def main() -> int:
    end_cleanly_on_signals()
    args = parse_args()
    names = {field.name for field in fields(Decoding)}
    settings = {name: value for name, value in vars(args).items() if name in names and value is not None}
    run = {
        "model": args.model,
        "weights": args.weights,
        "dtype": args.dtype,
        "quantize": args.quantize,
        "force": args.force,
        "settings": dict(settings),
    }
    run |= {"input": str(args.input.resolve()), "questions": args.question}
    records = LabelInput(args.input, args.question)
    with open_output(args.out, run) as output:  # before the model, which takes long to load
        if len(output.done) == records.length:
            print(f"{args.out} has all {records.length} answers already")
            return 0
        if args.batch_size is not None:
            settings["batch_size"] = args.batch_size
        if args.ray is None:
            lira = LIRAInferencer(
                args.model, args.weights, args.device, dtype=args.dtype, quantize=args.quantize, show_progress=False
            )
            count, errors = label(Labeller(lira, args.force, **settings), records, output)
        else:
            from lira_plugin.labelling.ray_labelling import ModelSettings, ray_entries

            how = ModelSettings(args.model, args.weights, args.device, args.dtype, args.quantize, args.force, settings)
            left = records_left(records, output)
            entries = ray_entries(left, how, args.ray or None, args.ray_workers)
            count, errors = write_entries(entries, records.length, output)
    print(f"{count} records, {errors} of them with an error: {args.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
