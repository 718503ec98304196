"""Score a file or folder of predictions of any model against a ground truth, as the official evaluation of its data does.

The kinds of predictions are the commands; `score.py KIND --help` says what each of them reads.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lira_plugin.evaluation.caption_scores import CaptionScorer
from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.text_similarity import MODELS, SIMILARITIES, build_similarity
from lira_plugin.version import __version__
from lira_plugin.written_aside import json_line, write_json, write_text


class Scored(NamedTuple):
    """Scores by name, the settings that they depend on, and a line for each record."""

    scores: dict[str, float]
    settings: dict[str, Any]
    records: Iterable[dict[str, Any]]


class Kind(NamedTuple):
    """A kind of predictions: what it reads, its own options, and how it is scored."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    score: Callable[[argparse.Namespace], Scored]


def add_gcg_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", type=Path, help="folder of <image id>.json, or JSON Lines of DumpAnswers")
    parser.add_argument("ground_truth", type=Path, help="folder with <split>_gcg_coco_{mask,caption}_gt.json")
    parser.add_argument("--split", default="val", help="of the ground truth, by default val")
    parser.add_argument(
        "--similarity",
        choices=SIMILARITIES,
        default="exact",
        help=f"of phrases, for Recall: equal words, or embeddings of a language model ({MODELS['bert']} is the paper's)",
    )
    parser.add_argument("--similarity-model", help="folder of that language model, where it is not on the hub's")
    parser.add_argument("--no-captions", dest="captions", action="store_false", help="leave METEOR and CIDEr out")


def score_gcg(args: argparse.Namespace) -> Scored:
    captions = CaptionScorer() if args.captions else None
    similarity = build_similarity(args.similarity, args.similarity_model)
    found = score_gcg_files(args.predictions, args.ground_truth, args.split, similarity, captions)
    if captions is None:
        print("METEOR and CIDEr are left out, as --no-captions says")
    if found.scores["missing"]:
        print(f"{found.scores['missing']} images have no prediction and count as an empty one")
    if found.unknown:
        print(f"{found.unknown} predictions are of images that the ground truth does not list; they do not count")
    settings = {
        "split": args.split,
        "similarity": args.similarity,
        "similarity_model": args.similarity_model or MODELS.get(args.similarity),
        "captions": args.captions,
        "unknown_predictions": found.unknown,
        "ground_truth": found.ground_truth,
    }
    return Scored(found.scores, settings, (image.to_json() for image in found.images))


KINDS = {
    "gcg": Kind("grounded captions of GranDf: AP50, mIoU, Recall, METEOR, CIDEr", add_gcg_arguments, score_gcg),
}
"""Every kind by its name on the command line."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, kind in KINDS.items():
        command = commands.add_parser(name, help=kind.help, description=kind.help)
        kind.add_arguments(command)
        command.add_argument("--json", type=Path, help="file for the scores and the settings that they depend on")
        command.add_argument("--per-record", type=Path, help="JSON Lines file with an object for each record")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        scored = KINDS[args.kind].score(args)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise SystemExit(f"score.py {args.kind}: {error}") from error
    for name, value in scored.scores.items():
        print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value}")
    settings = {"kind": args.kind, "predictions": str(args.predictions), "version": __version__, **scored.settings}
    if args.json:
        write_json(args.json, scored.scores | {"settings": settings}, indent=2)
    if args.per_record:
        write_text(args.per_record, "".join(json_line(record) + "\n" for record in scored.records))


if __name__ == "__main__":
    main()
