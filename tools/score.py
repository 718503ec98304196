"""Score a file or folder of predictions of any model against a ground truth, as the official evaluation of its data does.

The kinds of predictions are the commands; `score.py KIND --help` says what each of them reads.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from lira_plugin.command_end import run_command
from lira_plugin.evaluation.answer_lines import score_answer_file
from lira_plugin.evaluation.answer_rules import ANSWER_RULES
from lira_plugin.evaluation.caption_scores import CaptionScorer
from lira_plugin.evaluation.chair_files import score_chair_file
from lira_plugin.evaluation.coco_files import score_coco_files
from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.prediction_files import file_hashes
from lira_plugin.evaluation.refer_lines import protocol_of, score_refer_file
from lira_plugin.evaluation.text_similarity import MODELS, SIMILARITIES, build_similarity
from lira_plugin.version import __version__
from lira_plugin.written_aside import check_writable, json_line, write_json, write_text


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


def add_coco_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", type=Path, help="COCO's results JSON, or JSON Lines (.jsonl) of DumpAnswers")
    parser.add_argument("ground_truth", type=Path, help="COCO file of instances")
    parser.add_argument("--source", help="of DumpAnswers' lines, where a file has those of several prompts")


def score_coco(args: argparse.Namespace) -> Scored:
    found = score_coco_files(args.predictions, args.ground_truth, args.source)
    if found.scores["missing"]:
        print(f"{found.scores['missing']} images have no prediction and count as images in which nothing was found")
    if found.unknown:
        print(f"{found.unknown} images with a prediction are not among those of the ground truth; they do not count")
    if found.scores["without_category"]:
        print(f"{found.scores['without_category']} masks are of no category of the ground truth; they do not count")
    settings = {"source": args.source, "unknown_images": found.unknown, "data": found.data}
    return Scored(found.scores, settings, (image.to_json() for image in found.images))


def add_refer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions",
        type=Path,
        help="JSON Lines: 'segmentation', 'target' and 'ignore' as RLE or null, or those that DumpAnswers writes",
    )
    parser.add_argument("--spans", choices=("first", "union"), help="of several masks of an answer, which count")
    parser.add_argument("--mask-stage", choices=("refined", "coarse"), default="refined", help="of DumpAnswers' spans")
    parser.add_argument("--per", choices=("sentence", "object"), default="sentence", help="what counts once")
    parser.add_argument(
        "--min-pixels", type=int, nargs="+", help="a mask of fewer pixels is empty; several give figures each"
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="leave answers without a mask out of cIoU, as LIRA's script does"
    )


def score_refer(args: argparse.Namespace) -> Scored:
    given = {"spans": args.spans, "min_pixels": args.min_pixels and tuple(args.min_pixels)}
    protocol = protocol_of(
        args.kind,
        stage=args.mask_stage,
        per=args.per,
        skip_missing=args.skip_missing,
        **{name: value for name, value in given.items() if value is not None},
    )
    found = score_refer_file(args.predictions, protocol)
    settings = {"protocol": asdict(protocol), "data": file_hashes({"predictions": args.predictions})}
    if found.presence:
        settings["presence"] = found.presence
    return Scored(found.figures, settings, (line.to_json() for line in found.lines))


def add_answer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions", type=Path, help="JSON Lines: 'answer' and its truth, 'answers' or 'label', 'choices', 'category'"
    )


def score_answers(args: argparse.Namespace) -> Scored:
    found = score_answer_file(args.predictions, args.kind)
    settings = {"rule": args.kind, "data": file_hashes({"predictions": args.predictions})}
    return Scored(found.figures, settings, (result.to_json() for result in found.results))


def add_chair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions", type=Path, help="JSON Lines of 'image_id' and 'caption', or those of DumpAnswers"
    )
    parser.add_argument("ground_truth", type=Path, help="COCO's folder with instances*.json and captions*.json")
    parser.add_argument("--synonyms", type=Path, help="synonyms.txt of CHAIR, by default a short list of this package")
    parser.add_argument(
        "--categories", choices=("name", "supercategory"), default="name", help="what of a category names an object"
    )


def score_chair(args: argparse.Namespace) -> Scored:
    found = score_chair_file(args.predictions, args.ground_truth, args.synonyms, args.categories)
    if not found.has_references:
        print("there are no reference captions: the objects of an image are those of its instances alone")
    settings = {
        "synonyms": str(args.synonyms or "of lira_plugin"),
        "categories": args.categories,
        "reference_captions": found.has_references,
        "data": found.data,
    }
    return Scored(found.scores, settings, (caption.to_json() for caption in found.captions))


KINDS = {
    "chair": Kind("hallucinated objects of captions: CHAIRs, CHAIRi, recall, length", add_chair_arguments, score_chair),
    "coco": Kind("instances of COCO: AP, AP50, AP75, by size, and mIoU", add_coco_arguments, score_coco),
    "gcg": Kind("grounded captions of GranDf: AP50, mIoU, Recall, METEOR, CIDEr", add_gcg_arguments, score_gcg),
    "refseg": Kind("RefCOCO, RefCOCO+, RefCOCOg: cIoU, gIoU, P@t, box P@0.5", add_refer_arguments, score_refer),
    "grefcoco": Kind(
        "gRefCOCO as ReLA: gIoU, cIoU, N-acc, T-acc, P@t, without and with the rule of 50 pixels, and calibrated presence",
        add_refer_arguments,
        score_refer,
    ),
    "reasonseg": Kind(
        "ReasonSeg as LISA: gIoU and cIoU of short and long questions and of all", add_refer_arguments, score_refer
    ),
    **{name: Kind(rule.help, add_answer_arguments, score_answers) for name, rule in ANSWER_RULES.items()},
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


def write(args: argparse.Namespace, scored: Scored) -> None:
    for name, value in scored.scores.items():
        name = name.encode("utf-8", "backslashreplace").decode()
        print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value}")
    settings = {"kind": args.kind, "predictions": str(args.predictions), "version": __version__, **scored.settings}
    if args.json:
        write_json(args.json, scored.scores | {"settings": settings}, indent=2)
    if args.per_record:
        write_text(args.per_record, "".join(json_line(record) + "\n" for record in scored.records))


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse files that could not be written, or that would replace what is read.

    Raises:
        OSError: one cannot be written.
        ValueError: one is a file of another argument.
    """
    read = [path for name, path in vars(args).items() if isinstance(path, Path) and name not in ("json", "per_record")]
    used = {path.resolve() for path in read}
    for path in filter(None, (args.json, args.per_record)):
        if path.resolve() in used:
            raise ValueError(f"{path} is named twice, and would be replaced: name another file to write to")
        used.add(path.resolve())
        check_writable(path)


def main() -> None:
    args = parse_args()
    check_outputs(args)
    write(args, KINDS[args.kind].score(args))


if __name__ == "__main__":
    run_command(main)
