"""The tables of attreval.md, from the figures that `lira test lira_tiny_attreval` writes; several files are one a seed.

python benchmarks/attreval.py work_dirs/tiny/lira_attreval/witness.json
"""

import argparse
import json
from pathlib import Path

STAGES = ("coarse", "refined")
COLUMNS = {
    "top1": "top-1",
    "chance_top1": "top-1 by chance",
    "frequency_top1": "always the most frequent",
    "centered_top1": "centred top-1",
    "mean_rank": "mean rank",
    "prob": "probability",
    "elsewhere_prob": "of the same words elsewhere",
    "log10_mass": "log10 of the set's",
}
SIDES = {"rho_prob": "probability of the true value", "rho_rank": "rank of the true value"}


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def correlation(figures: dict[str, float], name: str) -> str:
    if name not in figures:
        return "none"
    return f"{figures[name]:+.2f} ({figures[f'{name}_low']:+.2f} to {figures[f'{name}_high']:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="witness.json of a run each")
    parser.add_argument("--source", default="attreval/refseg")
    args = parser.parse_args()
    runs = [json.loads(path.read_text(encoding="utf-8"))["figures"] for path in args.files]
    start = f"{args.source}/coarse/"
    kinds = [name.split("/")[-2] for name in runs[0] if name.startswith(start) and name.endswith("/items")]
    ranks, correlations = [], []
    for kind in kinds:
        for stage in STAGES:
            for seed, figures in enumerate(runs):
                prefix = f"{args.source}/{stage}/{kind}/"
                own = {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}
                head = [kind, stage, str(seed)]
                values = [f"{own[name]:.3f}" if name in own else "none" for name in COLUMNS]
                ranks.append([*head, f"{own['items']:.0f}", *values])
                correlations.append([*head, *(correlation(own, name) for name in SIDES)])
    for header, cells in (
        (["missing", "`<seg>`", "run", "expressions", *COLUMNS.values()], ranks),
        (["missing", "`<seg>`", "run", *SIDES.values()], correlations),
    ):
        print(line(header), line(["---"] * len(header)), *map(line, cells), "", sep="\n")


if __name__ == "__main__":
    main()
