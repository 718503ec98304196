"""Train and evaluate a tiny LIRA from nothing: scenes, segmenter, semantic encoder, pretrain, finetune, RefSeg scores, a picture.

It takes about a quarter of an hour; --fast takes four minutes, with a smaller model that learns easier scenes in fewer stages.

What a former run in the same --work-dir has made from the same settings, configs and earlier stages is kept, and an
interrupted stage goes on from its last checkpoint. Where any of these differ, the run is refused before it overwrites
anything; --overwrite trains the stages concerned, and those that build on them, anew. Other scenes want another --work-dir.
"""

import argparse
from pathlib import Path

from lira_plugin.command_end import run_command
from lira_plugin.end_signals import end_cleanly_on_signals
from lira_plugin.quickstart import FAST, FULL, Quickstart, format_summary, next_commands


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    variant = parser.add_mutually_exclusive_group()
    variant.add_argument("--fast", action="store_true", help="a smaller model on easier scenes")
    variant.add_argument("--no-ilvc", dest="variant", action="store_const", const="_no_ilvc", default="")
    variant.add_argument("--no-sefe", dest="variant", action="store_const", const="_no_sefe")
    parser.add_argument("--work-dir", type=Path, help="where everything is written; by default work_dirs/tiny[_fast]")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and training")
    parser.add_argument(
        "--scenes", type=int, help=f"training scenes; by default {FULL.scenes}, or {FAST.scenes} with --fast"
    )
    parser.add_argument(
        "--eval-scenes",
        type=int,
        help=f"scenes of each of val, testA and testB; by default {FULL.eval_scenes}, or {FAST.eval_scenes} with --fast",
    )
    parser.add_argument("--background", choices=["plain", "photo"], default="plain")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="settings for every stage")
    parser.add_argument(
        "--overwrite", action="store_true", help="train stages anew that were made from other settings, not refuse"
    )
    args = parser.parse_args()
    args.family = FAST if args.fast else FULL
    args.work_dir = args.work_dir or Path("work_dirs", args.family.folder)
    args.scenes = args.family.scenes if args.scenes is None else args.scenes
    args.eval_scenes = args.family.eval_scenes if args.eval_scenes is None else args.eval_scenes
    return args


def main() -> None:
    end_cleanly_on_signals()
    args = parse_args()
    quickstart = Quickstart(
        work_dir=args.work_dir.resolve(),
        config_dir=Path(__file__).resolve().parents[1] / "configs" / "lira_tiny",
        seed=args.seed,
        scenes=args.scenes,
        eval_scenes=args.eval_scenes,
        background=args.background,
        variant=args.variant,
        options=tuple(args.cfg_options),
        overwrite=args.overwrite,
        family=args.family,
    )
    print(format_summary(quickstart.run()))
    print(f"scores: {args.work_dir}/metrics{args.variant}.json   picture: {args.work_dir}/panel{args.variant}.png")
    print("\nWhat to try next:\n")
    for purpose, command in next_commands(quickstart, args.work_dir):
        print(f"  {purpose}:\n    {command}")


if __name__ == "__main__":
    run_command(main)
