"""Describe the same images with and without ILVC, and put what is hallucinated side by side: CHAIR, POPE, and red words.

    python tools/hallucination.py lira_tiny work_dirs/tiny/lira --out out
    python tools/hallucination.py lira_2b_ilvc_half lira_2b.pth --annotations coco/annotations --images coco/val2014 --out out

Without --annotations the images are the val scenes of a tiny recipe, and a shape is an object. OUT gets hallucination.html and
hallucination.png, hallucination.json (the scores), and for either side captions and yes-or-no answers as `score.py` reads them.
A model that was trained with ILVC alone leaves phrases out without it: take one that was trained with both prompts, or name with
--without one that was trained without ILVC.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lira_plugin.command_end import run_command
from lira_plugin.evaluation.coco_objects import CocoObjects, read_coco_objects
from lira_plugin.evaluation.prediction_files import file_hashes
from lira_plugin.inference import LIRAInferencer
from lira_plugin.inference.with_and_without import DescribedImages, all_questions, describe_images, draw_images
from lira_plugin.recipes import read_recipe
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.structures import GCG_QUESTIONS
from lira_plugin.version import __version__
from lira_plugin.visualization import save_image
from lira_plugin.visualization.hallucination import hallucination_figure, hallucination_page, most_different
from lira_plugin.written_aside import json_line, write_json, write_text

COCO_REQUEST = "Provide an in-depth description of this image."
"""The paper's for CHAIR."""
COCO_QUESTION, SCENE_QUESTION = "Is there {object} in the image?", "Is there {object}?"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="recipe of the model")
    parser.add_argument("checkpoint", type=Path, help="checkpoint file or work dir")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--without",
        nargs=2,
        metavar=("CONFIG", "CHECKPOINT"),
        help="model of the side without ILVC, by default the same",
    )
    parser.add_argument("--annotations", type=Path, help="COCO's folder, or one file of instances; by default scenes")
    parser.add_argument("--images", type=Path, help="folder of the images of --annotations")
    parser.add_argument("--synonyms", type=Path, help="synonyms.txt of CHAIR, by default a short list of this package")
    parser.add_argument(
        "--categories",
        choices=("name", "supercategory"),
        help="what of a category names an object, by default its name; of scenes the supercategory, which is the shape",
    )
    parser.add_argument("--count", type=int, default=50, help="images to describe")
    parser.add_argument("--shown", type=int, default=8, help="of them to draw: those that differ most")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images and objects")
    parser.add_argument("--request", help="for a caption; by default the paper's for CHAIR, GranDf's for scenes")
    parser.add_argument("--question", help="about objects, with {object} for one with its article")
    parser.add_argument("--objects", type=int, default=3, help="asked about per image and kind; 0 leaves POPE out")
    parser.add_argument("--batch-size", type=int, help="answers written at the same time")
    parser.add_argument("--max-new-tokens", type=int, help="of an answer, by default the recipe's")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    args = parser.parse_args()
    if (args.annotations is None) != (args.images is None):
        parser.error("give --annotations with --images, or neither for scenes")
    return args


def choose_data(args: argparse.Namespace, config: Config) -> None:
    """Fill in what the command line leaves open."""
    args.scenes = args.annotations is None
    if args.scenes:
        files = SceneFiles(Path(config.get("data_root") or ""))
        if not files.coco_val.is_file():
            raise FileNotFoundError(
                f"{config.filename} has no scenes in its data_root: say with --annotations and --images what "
                "to describe (scenes are for the tiny recipes: python tools/make_scenes.py FOLDER)"
            )
        args.annotations, args.images = files.coco_val, files.images
    args.categories = args.categories or ("supercategory" if args.scenes else "name")
    args.request = args.request or (GCG_QUESTIONS[0] if args.scenes else COCO_REQUEST)
    args.question = args.question or (SCENE_QUESTION if args.scenes else COCO_QUESTION)


def asked_objects(args: argparse.Namespace, truth: CocoObjects) -> CocoObjects:
    """What is asked about: the objects; of scenes those with their colour, as the tiny recipe's questions name them."""
    if not args.scenes:
        return truth
    named = read_coco_objects(args.annotations).instances
    colored = {key: frozenset(name.split(" ", 1)[1] for name in names) for key, names in named.items()}
    return replace(truth, instances=colored, captions={})


def describe(args: argparse.Namespace, truth: CocoObjects, images: dict[str, str]) -> dict[str, DescribedImages]:
    questions = all_questions(asked_objects(args, truth), list(images), args.objects, args.seed)
    options = {"batch_size": args.batch_size, "max_new_tokens": args.max_new_tokens}
    options = {name: value for name, value in options.items() if value is not None}
    asked = (truth, images, args.request, questions, args.question)
    lira = LIRAInferencer(args.config, args.checkpoint, args.device)
    sides = {"with ILVC": describe_images(partial(lira, ilvc=True, **options), *asked)}
    if args.without:
        lira = LIRAInferencer(*args.without, args.device)
    sides["without ILVC"] = describe_images(partial(lira, ilvc=False, **options), *asked)
    return sides


def write(
    args: argparse.Namespace, truth: CocoObjects, images: dict[str, str], sides: dict[str, DescribedImages]
) -> None:
    captions = {side: found.captions for side, found in sides.items()}
    figures = {side: found.figures() for side, found in sides.items()}
    shown = most_different(captions, args.shown)
    save_image(args.out / "hallucination.png", hallucination_figure(captions, figures, images, shown, args.request))
    wrong = {side: found.wrong_answers() for side, found in sides.items()}
    page = hallucination_page(captions, figures, images, shown, args.request, wrong)
    write_text(args.out / "hallucination.html", page)
    settings: dict[str, Any] = {name: value for name, value in vars(args).items() if name != "out"}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    data = file_hashes(truth.files)
    write_json(
        args.out / "hallucination.json",
        {"scores": figures, "settings": settings, "data": data, "version": __version__},
        indent=1,
    )
    for side, found in sides.items():
        name = side.lower().replace(" ", "_")
        lines = "".join(json_line(caption.to_json()) + "\n" for caption in found.captions)
        write_text(args.out / f"captions_{name}.jsonl", lines)
        lines = "".join(json_line(answer.to_json()) + "\n" for answer in found.answers)
        write_text(args.out / f"answers_{name}.jsonl", lines)
    for name in figures["with ILVC"]:
        print(f"{name:<24}" + "".join(f"  {side} {found[name]:<8.4g}" for side, found in figures.items()))
    print(f"{len(images)} images: {args.out / 'hallucination.html'}")


def main() -> None:
    args = parse_args()
    config = read_recipe(args.config)
    choose_data(args, config)
    truth = read_coco_objects(args.annotations, args.synonyms, args.categories)
    images = draw_images(truth, args.images, args.count, args.seed)
    write(args, truth, images, describe(args, truth, images))


if __name__ == "__main__":
    run_command(main)
