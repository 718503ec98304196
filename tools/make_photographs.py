"""Write a small set of photographs with masks, laid out as one's own data: what docs/own_data.md trains on."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lira_plugin.command_end import run_command
from lira_plugin.prepare.photographs import write_photographs


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write to, such as data/own")
    parser.add_argument("--seed", type=int, default=0, help="of the squares that are cut from the photographs")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    write_photographs(args.folder, args.seed)
    print(
        f"wrote images/, train.json and val.json: recipes read them if LIRA_OWN_DATA is {args.folder} (by default data/own)"
    )


if __name__ == "__main__":
    run_command(main)
