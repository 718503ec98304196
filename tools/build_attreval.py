"""Build AttrEval from RefCOCO or its like: questions and expressions about attributes that an expression leaves out.

OUT gets attreval_vqa.jsonl (pairs of yes-or-no questions), attreval_refseg.jsonl (expressions with the attribute that they leave
out, and a mask) and summary.json (what was taken, what was dropped and why).

The paper has 1,436 questions and 618 expressions; its exact selection is not published. `--questions 1436 --expressions 618`
draws as many, of all kinds as evenly as they allow. `--min-agree 2` wants two descriptions that say the attribute.
"""

import argparse
from pathlib import Path
from typing import Any

from lira_plugin.command_end import run_command
from lira_plugin.prepare.attreval import SelectionRule
from lira_plugin.prepare.attreval_files import build_attreval, read_described
from lira_plugin.structures import ATTRIBUTE_KINDS, load_lexicons


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", type=Path, help="folder that holds the folder of the data set")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--dataset", default="refcoco", help="refcoco, refcoco+, refcocog, or the name of your own")
    parser.add_argument("--splits", nargs="+", default=["val", "testA", "testB"])
    parser.add_argument("--split-by", help="who made the splits, where it is not the usual one: unc or umd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=ATTRIBUTE_KINDS, default=list(ATTRIBUTE_KINDS))
    parser.add_argument(
        "--lexicon",
        type=Path,
        nargs="+",
        default=[],
        help="your own category.txt, location.txt or color.txt, or a folder with them; by default those of the package",
    )
    parser.add_argument("--min-agree", type=int, default=1, help="descriptions that must say an attribute")
    parser.add_argument("--per-object", type=int, default=1, help="descriptions of an object asked about the same kind")
    parser.add_argument(
        "--any-side",
        dest="check_image",
        action="store_false",
        help="believe 'left' and its like also where the mask is on the other side of the image",
    )
    parser.add_argument("--questions", type=int, help="write at most so many questions, an even count")
    parser.add_argument("--expressions", type=int, help="write at most so many expressions")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad refs out, with a warning")
    return parser.parse_args()


def report(summary: dict[str, Any]) -> str:
    """The counts as lines, beside the paper's."""
    written, found, paper = summary["written"], summary["found"], summary["paper"]
    lines = [
        f"{summary['objects']:,} objects with {summary['descriptions']:,} descriptions",
        f"{'':<12} {'agreed':>8} {'pairs':>8} {'expressions':>12}",
    ]
    for kind in summary["settings"]["kinds"]:
        agreed = sum(summary["agreed"].get(kind, {}).values())
        lines.append(f"{kind:<12} {agreed:>8,} {found['pairs'][kind]:>8,} {found['expressions'][kind]:>12,}")
    for kind, reasons in summary["dropped"].items():
        lines += [f"dropped, {kind}: {count:,} {reason}" for reason, count in reasons.items()]
    lines.append(f"questions written: {written['questions']:,} (paper: {paper['questions']:,})")
    lines.append(f"expressions written: {written['expressions']['all']:,} (paper: {paper['expressions']:,})")
    lines.append(
        f"the paper's exact selection is not published; --questions {paper['questions']} --expressions {paper['expressions']} "
        "draws as many"
    )
    return "\n".join(lines)


def main() -> None:
    args = parse_args()
    lexicons = load_lexicons(args.lexicon)
    rule = SelectionRule(tuple(args.kinds), args.min_agree, args.per_object, args.check_image, args.seed)
    on_bad = "skip" if args.skip_bad else "raise"
    read = read_described(args.data_root, args.dataset, args.splits, args.split_by, on_bad)
    settings = {
        "dataset": args.dataset,
        "splits": args.splits,
        "split_by": args.split_by,
        "lexicon": [str(path) for path in args.lexicon],
    }
    summary = build_attreval(read, args.out, lexicons, rule, args.questions, args.expressions, settings)
    print(report(summary))


if __name__ == "__main__":
    run_command(main)
