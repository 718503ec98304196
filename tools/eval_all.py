"""Test a checkpoint on the comprehension suites, one after the other, and print them beside the paper's.

An interrupted call goes on where it was: a finished suite is not run again.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import mmengine
import torch
import transformers
from mmengine.config import DictAction

from lira_plugin.command_end import run_command
from lira_plugin.evaluation.suite_table import as_markdown, as_text, suite_table
from lira_plugin.inference.suite_runs import find_suites, run_suites
from lira_plugin.recipes import read_recipe
from lira_plugin.version import __version__
from lira_plugin.written_aside import write_json, write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="recipe of the model: its name or path")
    parser.add_argument("checkpoint", type=Path, help="its weights: a file, or a work dir")
    parser.add_argument("--suites", nargs="+", default=[], help="names of suites, such as gqa pope; by default all")
    parser.add_argument("--recipes", type=Path, help="folder of the suites' recipes, by default eval beside the recipe")
    parser.add_argument(
        "--out", type=Path, help="folder for all files, by default suites in the work dir of the recipe"
    )
    parser.add_argument("--again", action="store_true", help="run finished suites too")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="settings to replace, as key=value")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = read_recipe(args.config)
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    out = args.out or Path(config.work_dir) / "suites"
    suites = find_suites(args.config, args.recipes, args.suites)
    results = list(run_suites(config, args.checkpoint, suites, out, say=print, again=args.again))
    lines = suite_table(results)
    print(as_text(lines))
    versions = {"lira_plugin": __version__, "torch": torch.__version__}
    versions |= {"transformers": transformers.__version__, "mmengine": mmengine.__version__}
    content = {"config": args.config, "checkpoint": str(args.checkpoint), "versions": versions}
    write_json(out / "suites.json", content | {"suites": [asdict(result) for result in results]}, indent=1)
    named = "\n".join(f"* {name}: {value}" for name, value in (("checkpoint", args.checkpoint), *versions.items()))
    write_text(
        out / "suites.md", f"{as_markdown(lines)}\n\nPercent. The files `result.json` say all settings.\n\n{named}\n"
    )
    print(f"wrote {out / 'suites.json'} and {out / 'suites.md'}")


if __name__ == "__main__":
    run_command(main)
