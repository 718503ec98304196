"""Ask a checkpoint about images: print the answers with their masks' scores, and write masks and pictures.

    python tools/infer.py photo.jpg "Please segment the dog." --model work_dirs/tiny/lira
    python tools/infer.py a.jpg b.jpg folder/ "Describe the image." --model recipe.py --weights checkpoint.pth
    python tools/infer.py questions.jsonl --model work_dirs/tiny/lira --batch-size 16

A JSON Lines file has {"image": "a.jpg", "question": "..."} a line, with images relative to it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lira_plugin.command_end import run_command
from lira_plugin.compat import answers_only
from lira_plugin.end_signals import end_cleanly_on_signals

if TYPE_CHECKING:  # the model takes seconds to import: after the arguments have been looked at
    from lira_plugin.inference import InferenceResult, LIRAInferencer
    from lira_plugin.structures import GroundedText


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE ... QUESTION",
        help="images or folders, then the question; or one .jsonl file",
    )
    parser.add_argument(
        "--model", "--config", help="recipe, work dir or packed folder; by default the work dir of --weights"
    )
    parser.add_argument("--weights", help="checkpoint file or work dir; by default those of the work dir --model")
    parser.add_argument("--out-dir", type=Path, help="write predictions.json, masks and pictures here")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run has written to --out-dir")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    parser.add_argument("--dtype", help="cast the weights, such as bfloat16; by default they stay as they are")
    parser.add_argument("--quantize", choices=("int8", "nf4"), help="the LLM in fewer bits, the rest in bfloat16")
    parser.add_argument("--compile", action="store_true", help="compile the model: slow at first, then faster on a GPU")
    parser.add_argument("--allow-urls", action="store_true", help="fetch images from http(s) addresses")
    parser.add_argument("--force", action="store_true", help="segment what 'Please segment X.' names, whatever is said")
    parser.add_argument(
        "--stream", action="store_true", help="print the text as it comes, one question after the other"
    )
    group = parser.add_argument_group("settings", "those not given are the recipe's")
    group.add_argument("--batch-size", type=int, help="answers written at the same time")
    group.add_argument("--threshold", type=float, help="probability from which on a pixel belongs to a mask")
    group.add_argument("--ilvc", action=argparse.BooleanOptionalAction, help="whether the model may look at regions")
    group.add_argument("--max-new-tokens", type=int)
    group.add_argument("--sample", dest="do_sample", action="store_true", default=None, help="draw tokens")
    group.add_argument("--temperature", type=float)
    group.add_argument("--top-k", type=int)
    group.add_argument("--top-p", type=float)
    group.add_argument("--repetition-penalty", type=float)
    group.add_argument(
        "--stop", dest="stop_strings", action="append", metavar="TEXT", help="end answers in front of it"
    )
    group.add_argument("--seed", type=int, help="of --sample")
    args = parser.parse_args(arguments)
    if len(args.inputs) == 1 and not args.inputs[0].endswith(".jsonl"):
        parser.error("give images and then a question, or one .jsonl file")
    if len(args.inputs) > 1 and os.path.exists(args.inputs[-1]):
        parser.error(f"the last of several inputs is the question, and {args.inputs[-1]} is a file or folder")
    if args.model is None and args.weights is None:
        parser.error("say with --model or --weights which model to ask")
    return args


def pairs(inputs: list[str], allow_urls: bool) -> tuple[list[str], list[str]]:
    """Images and their questions."""
    from lira_plugin.inference import read_prompts

    if len(inputs) == 1:
        prompts = read_prompts(inputs[0], allow_urls=allow_urls)
    else:
        *images, question = inputs
        prompts = [prompt for image in images for prompt in read_prompts(image, question, allow_urls=allow_urls)]
    return [prompt.name for prompt in prompts], [prompt.question for prompt in prompts]


def streamed(
    lira: LIRAInferencer, images: list[str], questions: list[str], **options: Any
) -> Iterator[InferenceResult]:
    """Print pieces of the answers as they come."""
    from lira_plugin.inference import InferenceResult, read_prompts
    from lira_plugin.structures import GroundedText

    for index, (image, question) in enumerate(zip(images, questions)):
        print(f"{image}: {question}")
        try:
            for progress in lira.stream(image, question, draw_index=index, **options):
                print(progress.piece, end="", flush=True)
            [prompt] = read_prompts(image, question, allow_urls=lira.allow_urls)
            pixels = lira.sample(prompt).image
        except (OSError, ValueError) as error:
            yield InferenceResult(index, image, question, GroundedText(""), None, str(error))
        else:
            yield InferenceResult(index, image, question, progress.answer, pixels)


def spans_of(answer: GroundedText) -> Iterator[str]:
    """The rest of a report, from the end of the answer's text on."""
    yield "" if answer.finished else " ... (cut off at --max-new-tokens)"
    for span in answer.spans:
        pixels, share = int(span.mask.sum()), 100 * span.mask.mean()
        phrase = span.phrase or "(no phrase)"
        yield f"  [{span.start}:{span.end}] {phrase}  score {span.score:.3f}  {pixels} pixels ({share:.1f} %)"


def main() -> int:
    end_cleanly_on_signals()
    args = parse_args()
    if not args.compile:  # the compiler needs much of what others do without
        answers_only.install()
    from lira_plugin.inference import LIRAInferencer, ResultWriter
    from lira_plugin.models.generation import Decoding

    names = {field.name for field in fields(Decoding)} | {"batch_size"}
    options = {name: value for name, value in vars(args).items() if name in names and value is not None}
    images, questions = pairs(args.inputs, args.allow_urls)
    # before the model, which takes long to load
    writer = ResultWriter(args.out_dir, lambda result: lira.visualize(result), args.overwrite) if args.out_dir else None
    options_of_model = {"dtype": args.dtype, "quantize": args.quantize, "compile": args.compile}
    options_of_model["allow_urls"] = args.allow_urls
    lira = LIRAInferencer(args.model, args.weights, args.device, **options_of_model)
    ask = streamed if args.stream else partial(LIRAInferencer.iterate, keep_going=True)
    errors = []
    try:
        for result in ask(lira, images, questions, force=args.force, **options):
            if result.error:
                errors.append(result.error)
                if len(images) > 1:
                    print(f"{result.name}: {result.error}", file=sys.stderr)
            else:
                if not args.stream:
                    print(f"{result.name}: {result.question}\n{result.answer.text or '(empty answer)'}", end="")
                print(*spans_of(result.answer), sep="\n", flush=True)
            if writer:
                writer.add(result)
    finally:
        if writer:
            writer.close()
    if errors and len(images) == 1:
        raise ValueError(errors[0])
    if writer:
        print(f"{len(images) - len(errors)} answers: {args.out_dir}")
    if errors:
        print(f"{len(errors)} of {len(images)} questions could not be answered", file=sys.stderr)
    return int(bool(errors))


if __name__ == "__main__":
    run_command(main)
