"""The table of marks with and without ILVC, from what ``lira test lira_tiny_detail`` and its twin wrote.

python benchmarks/ilvc.py --ilvc S0/lira_detail/marks.json S1/... --no-ilvc S0/lira_detail_no_ilvc/marks.json S1/...

One file a seed, in the same order. Intervals are of 95 %, by a bootstrap over the images (all seeds see the same ones).
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lira_plugin.scenes.mark_metric import MarkResult, mark_summary, read_mark_results

FIGURES = {
    "captions/right": "captions: phrases whose mark is right",
    "captions/hallucinated": "captions: phrases with a mark that is not there",
    "captions/false_marks": "captions: named marks that are not there",
    "captions/on_plain": "captions: plain objects that get a mark",
    "captions/missed": "captions: marks that are not named",
    "captions/lost": "captions: phrases on no object",
    "questions/right": "questions: phrases whose mark is right",
    "questions/hallucinated": "questions: phrases with a mark that is not there",
    "questions/by_phrase/accuracy": "questions: accuracy by the phrase",
    "questions/accuracy": "questions: accuracy by the last word",
    "questions/F1": "questions: F1 of yes",
    "questions/yes_share": "questions: share of yes",
    "sentences/refined/cIoU": "sentences: cIoU, refined",
    "sentences/coarse/cIoU": "sentences: cIoU, coarse",
    "sentences/refined/P@0.5": "sentences: P@0.5, refined",
    "sentences/coarse/P@0.5": "sentences: P@0.5, coarse",
}
"""The figures of the table, and what they are called there."""
Results = Mapping[str, Sequence[MarkResult]]
"""The results of one model by image."""


def by_image(results: Sequence[MarkResult]) -> Results:
    """Group results."""
    found: dict[str, list[MarkResult]] = defaultdict(list)
    for result in results:
        found[result.image].append(result)
    return found


def mean_figures(models: Sequence[Results], images: Sequence[str]) -> dict[str, float]:
    """The mean over seeds of the figures for some images, which may repeat."""
    summaries = [mark_summary([result for image in images for result in model[image]]) for model in models]
    return {name: float(np.mean([summary.get(name, 0.0) for summary in summaries])) for name in FIGURES}


def intervals(models: Sequence[Results], draws: int) -> dict[str, tuple[float, float, float]]:
    """Each figure with its interval, and under ``refined less coarse`` the difference of the cIoU of sentences."""
    images, rng = list(models[0]), np.random.default_rng(0)
    whole = mean_figures(models, images)
    drawn = [
        mean_figures(models, [images[index] for index in rng.integers(len(images), size=len(images))])
        for _ in range(draws)
    ]
    for figures in (whole, *drawn):
        figures["refined less coarse"] = figures["sentences/refined/cIoU"] - figures["sentences/coarse/cIoU"]
    return {
        name: (value, *(float(edge) for edge in np.quantile([figures[name] for figures in drawn], (0.025, 0.975))))
        for name, value in whole.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ilvc", type=Path, nargs="+", required=True, help="marks.json of each seed")
    parser.add_argument("--no-ilvc", type=Path, nargs="+", required=True, help="the same without ILVC")
    parser.add_argument("--draws", type=int, default=500, help="of the bootstrap")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    args = parser.parse_args()
    variants = {"with ILVC": args.ilvc, "without ILVC": args.no_ilvc}
    models = {name: [by_image(read_mark_results(path)) for path in paths] for name, paths in variants.items()}
    found = {name: intervals(own, args.draws) for name, own in models.items()}
    seeds = {name: [mean_figures([model], list(model)) for model in own] for name, own in models.items()}
    lines = []
    for figure, title in (FIGURES | {"refined less coarse": "sentences: cIoU, refined less coarse"}).items():
        cells = []
        for name in variants:
            value, low, high = found[name][figure]
            cells.append(f"{value:.3f} ({low:.3f} to {high:.3f})")
            if figure in FIGURES:
                cells.append(", ".join(f"{own[figure]:.3f}" for own in seeds[name]))
            else:
                cells.append("")
        lines.append([title, *cells])
    head = ["figure", *(cell for name in variants for cell in (name, "its seeds"))]
    for cells in (head, ["---"] * len(head), *lines):
        print(f"| {' | '.join(cells)} |")
    if args.out is not None:
        args.out.write_text(json.dumps({"intervals": found, "seeds": seeds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
