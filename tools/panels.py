"""Draw what a checkpoint answers: image, question, answer with coloured phrases, and masks, as one figure.

The questions come from a JSON Lines file, {"image": "a.jpg", "question": "Please segment the cat.", "task": "RefSeg"} a line
with images relative to it, from the first data set of a loader of the recipe with its ground truth, or are drawn from the val
scenes of a tiny recipe: VQA, captions, RefSeg and GCG. With --before each answer stands below that of another checkpoint:

    python tools/panels.py lira_tiny_own work_dirs/tiny/lira_own --before work_dirs/tiny/lira --data --out own.png
"""

import argparse
from pathlib import Path

from mmengine.config import Config

from lira_plugin.command_end import run_command
from lira_plugin.datasets import GroundingDataset
from lira_plugin.datasets.question_files import ImageQuestion, drawn_questions, read_questions
from lira_plugin.inference import LIRAInferencer
from lira_plugin.recipes import read_recipe
from lira_plugin.registry import DATASETS
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.scenes.scene_questions import scene_questions
from lira_plugin.settings import SHARE_KEYS
from lira_plugin.visualization import draw_panels, save_image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="recipe of the model")
    parser.add_argument("checkpoint", type=Path, help="checkpoint file or work dir")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; the suffix says the format")
    parser.add_argument(
        "--questions", type=Path, help="JSON Lines file; by default val scenes of the recipe's data_root"
    )
    parser.add_argument(
        "--data",
        nargs="?",
        const="test_dataloader",
        metavar="LOADER",
        help="ask about the first data set of this loader of the recipe, by default test_dataloader",
    )
    parser.add_argument("--count", type=int, default=8, help="questions that --data draws")
    parser.add_argument("--before", type=Path, help="checkpoint file or work dir whose answers are drawn too, above")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of scenes or records")
    parser.add_argument("--no-coarse", dest="coarse", action="store_false", help="leave the coarse masks out")
    parser.add_argument("--cell-height", type=int, default=180, help="height of each picture in pixels")
    parser.add_argument("--width", type=int, default=1600, help="greatest width of the figure in pixels")
    parser.add_argument("--font-size", type=int, default=16, help="of the answers in pixels")
    parser.add_argument("--font", help="path of a font to prefer, for scripts that no installed font has")
    parser.add_argument("--batch-size", type=int, default=8, help="questions asked at a time")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    args = parser.parse_args()
    if args.questions and args.data:
        parser.error("give --questions or --data, not both")
    return args


def choose_questions(args: argparse.Namespace, config: Config) -> list[ImageQuestion]:
    if args.questions is not None:
        return read_questions(args.questions)
    if args.data:
        return drawn_questions(first_dataset(config, args.data), args.count, args.seed)
    scenes = SceneFiles(Path(config.get("data_root") or ""))
    if not scenes.llava_val.is_file():
        raise FileNotFoundError(
            f"{config.filename} has no scenes in its data_root: say with --questions what to ask (scenes are for the tiny "
            f"recipes: python tools/make_scenes.py FOLDER)"
        )
    return scene_questions(scenes, seed=args.seed)


def first_dataset(config: Config, loader: str) -> GroundingDataset:
    """The data set of a loader, or the first of its mixture, without a pipeline: its records are asked, not its samples."""
    if "dataset" not in (config.get(loader) or {}):
        raise ValueError(f"{config.filename} has no data set in {loader!r}")
    dataset = config[loader].dataset
    while "datasets" in dataset:
        dataset = dataset.datasets[0]
    return DATASETS.build({key: value for key, value in dataset.items() if key not in {"pipeline", *SHARE_KEYS}})


def recipe_before(checkpoint: Path, config: Config) -> Config | None:
    """None, for the recipe that lies beside the other checkpoint, which may have frozen other parts; else the same recipe."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return None if any(folder.glob("*.py")) else config


def main() -> None:
    args = parse_args()
    config = read_recipe(args.config)
    questions = choose_questions(args, config)
    before = None
    if args.before:
        lira = LIRAInferencer(recipe_before(args.before, config), args.before, device=args.device)
        before = lira(
            [item.image for item in questions], [item.question for item in questions], batch_size=args.batch_size
        )
    figure = draw_panels(
        LIRAInferencer(config, args.checkpoint, device=args.device),
        questions,
        before=before,
        draw_coarse=args.coarse,
        cell_height=args.cell_height,
        width=args.width,
        font_size=args.font_size,
        font=args.font,
        batch_size=args.batch_size,
    )
    save_image(args.out, figure)
    print(f"{len(questions)} answers: {args.out}")


if __name__ == "__main__":
    run_command(main)
