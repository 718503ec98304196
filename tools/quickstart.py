"""Train and evaluate a tiny LIRA from nothing: scenes, segmenter, semantic encoder, pretrain, finetune, RefSeg scores, a picture.

What a former run in the same --work-dir has made from the same settings, configs and earlier stages is kept, and an
interrupted stage goes on from its last checkpoint. Where any of these differ, the run is refused before it overwrites
anything; --overwrite trains the stages concerned, and those that build on them, anew. Other scenes want another --work-dir.
"""

import argparse
from pathlib import Path

from lira_plugin.end_signals import end_cleanly_on_signals
from lira_plugin.quickstart import Quickstart, format_summary


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/tiny"), help="everything is written here")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and training")
    parser.add_argument("--scenes", type=int, default=6000, help="training scenes")
    parser.add_argument("--eval-scenes", type=int, default=100, help="scenes of each of val, testA and testB")
    parser.add_argument("--background", choices=["plain", "photo"], default="plain")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="settings for every stage")
    parser.add_argument(
        "--overwrite", action="store_true", help="train stages anew that were made from other settings, not refuse"
    )
    variant = parser.add_mutually_exclusive_group()
    variant.add_argument("--no-ilvc", dest="variant", action="store_const", const="_no_ilvc", default="")
    variant.add_argument("--no-sefe", dest="variant", action="store_const", const="_no_sefe")
    return parser.parse_args()


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
    )
    print(format_summary(quickstart.run()))
    print(f"scores: {args.work_dir}/metrics{args.variant}.json   picture: {args.work_dir}/panel{args.variant}.png")


if __name__ == "__main__":
    main()
