"""Draw what a checkpoint answers: image, question, answer with coloured phrases, and masks, as one figure.

The questions come from a JSON Lines file, {"image": "a.jpg", "question": "Please segment the cat.", "task": "RefSeg"} a line
with images relative to it, or are drawn from the val scenes of a tiny recipe: VQA, captions, RefSeg and GCG.
"""

import argparse
from pathlib import Path

from mmengine.config import Config

from lira_plugin.datasets.question_files import ImageQuestion, read_questions
from lira_plugin.inference import LIRAInferencer
from lira_plugin.recipes import read_recipe
from lira_plugin.scenes.scene_files import SceneFiles
from lira_plugin.scenes.scene_questions import scene_questions
from lira_plugin.visualization import draw_panels, save_image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="recipe of the model")
    parser.add_argument("checkpoint", type=Path, help="checkpoint file or work dir")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; the suffix says the format")
    parser.add_argument(
        "--questions", type=Path, help="JSON Lines file; by default val scenes of the recipe's data_root"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of scenes")
    parser.add_argument("--no-coarse", dest="coarse", action="store_false", help="leave the coarse masks out")
    parser.add_argument("--cell-height", type=int, default=180, help="height of each picture in pixels")
    parser.add_argument("--width", type=int, default=1600, help="greatest width of the figure in pixels")
    parser.add_argument("--font-size", type=int, default=16, help="of the answers in pixels")
    parser.add_argument("--font", help="path of a font to prefer, for scripts that no installed font has")
    parser.add_argument("--batch-size", type=int, default=8, help="questions asked at a time")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    return parser.parse_args()


def choose_questions(path: Path | None, config: Config, seed: int) -> list[ImageQuestion]:
    if path is not None:
        return read_questions(path)
    scenes = SceneFiles(Path(config.get("data_root") or ""))
    if not scenes.llava_val.is_file():
        raise SystemExit(
            f"{config.filename} has no scenes in its data_root: say with --questions what to ask (scenes are for the tiny "
            f"recipes: python tools/make_scenes.py FOLDER)"
        )
    return scene_questions(scenes, seed=seed)


def main() -> None:
    args = parse_args()
    config = read_recipe(args.config)
    questions = choose_questions(args.questions, config, args.seed)
    figure = draw_panels(
        LIRAInferencer(config, args.checkpoint, device=args.device),
        questions,
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
    main()
