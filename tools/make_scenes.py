"""Write the data of the tiny recipes: scenes in the published formats, and a tokenizer for them."""

import argparse
from pathlib import Path

from lira_plugin.command_end import run_command
from lira_plugin.scenes.detail_files import write_detail_scenes
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="folder to write to, such as work_dirs/tiny/data")
    parser.add_argument("--scenes", type=int, default=6000, help="training scenes")
    parser.add_argument("--eval-scenes", type=int, default=100, help="scenes of each of val, testA and testB")
    parser.add_argument("--size", type=int, help="longer side in pixels; by default 128, with --detail 384")
    parser.add_argument("--background", choices=["plain", "photo"], default="plain")
    parser.add_argument(
        "--level",
        choices=["full", "easy"],
        default="full",
        help="easy: two or three objects of three shapes and four colours",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--detail",
        metavar="PLAIN",
        help="write scenes with fine detail, with the tokenizer of the plain scenes in this folder and a word for each mark",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    size = {} if args.size is None else {"size": args.size}
    if args.detail is not None:
        tokenizer = Path(args.detail, "tokenizer")
        write_detail_scenes(args.root, tokenizer, args.scenes, args.eval_scenes, seed=args.seed, **size)
        return
    files = write_scenes(
        args.root,
        args.scenes,
        args.eval_scenes,
        seed=args.seed,
        background=args.background,
        level=args.level,
        **size,
    )
    write_scene_tokenizer(files)


if __name__ == "__main__":
    run_command(main)
