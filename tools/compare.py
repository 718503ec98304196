"""Put two files of masks of the same records side by side: figures with a paired bootstrap, and what changed most.

    python tools/compare.py refseg a.jsonl b.jsonl --json difference.json --sheet changed.png
    python tools/compare.py coco a.json b.json --ground-truth instances_val2017.json

The files are those of `score.py`: of `refseg`, `grefcoco` and `reasonseg`, of which gIoU and cIoU are compared, and of `gcg` and
`coco`, of which mIoU is. A figure of B is better for sure where the interval of the difference lies above 0.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lira_plugin.command_end import run_command
from lira_plugin.evaluation.coco_files import score_coco_files
from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.paired import Change, Difference, compare, compare_means, greatest, most_changed, paired
from lira_plugin.evaluation.prediction_files import file_hashes, read_lines
from lira_plugin.evaluation.refer_lines import REFER_PROTOCOLS, protocol_of, score_refer_file
from lira_plugin.evaluation.text_similarity import exact_similarity
from lira_plugin.visualization import save_image
from lira_plugin.visualization.changed_records import draw_changes
from lira_plugin.written_aside import write_json


class Compared(NamedTuple):
    """Figures by name, the records that changed most, and how many records there are."""

    figures: Mapping[str, Difference]
    changes: list[Change]
    records: int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted({*REFER_PROTOCOLS, "gcg", "coco"}), help="of the files")
    parser.add_argument("first", type=Path, metavar="A", help="as score.py reads it")
    parser.add_argument("second", type=Path, metavar="B", help="file of the same records")
    parser.add_argument("--ground-truth", type=Path, help="of `gcg` and `coco`, as score.py has it")
    parser.add_argument("--split", default="val", help="of the ground truth of `gcg`")
    parser.add_argument("--changed", type=int, default=20, help="records to list and draw")
    parser.add_argument("--draws", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--json", type=Path, help="file for the differences and the records that changed most")
    parser.add_argument("--sheet", type=Path, help="picture of these records; lines then need 'image'")
    parser.add_argument("--image-root", type=Path, default=Path(), help="folder that relative paths of images are in")
    return parser.parse_args()


def lines_of(path: Path, changes: list[Change]) -> dict[str, dict[str, Any]]:
    wanted = {change.name for change in changes}
    names = ((entry, str(entry.content.get("record_id", entry.name))) for entry in read_lines(path))
    return {name: entry.content for entry, name in names if name in wanted}


def compare_lines(args: argparse.Namespace) -> Compared:
    """gIoU and cIoU of referring segmentation."""
    if args.ground_truth:
        raise ValueError(f"--ground-truth is for gcg and coco; lines of {args.kind} hold their targets")
    protocol = protocol_of(args.kind)
    pairs = paired(*(score_refer_file(path, protocol).lines for path in (args.first, args.second)))
    changes = most_changed(pairs, args.changed)
    if args.sheet and changes:
        sheet = draw_changes(
            changes, lines_of(args.first, changes), lines_of(args.second, changes), protocol, args.image_root
        )
        save_image(args.sheet, sheet)
    return Compared(compare(pairs, args.draws, args.seed), changes, len(pairs))


def compare_images(args: argparse.Namespace) -> Compared:
    """mIoU over images of `gcg` and `coco`, which score each image by itself."""
    if args.ground_truth is None or args.sheet:
        raise ValueError(f"{args.kind} needs --ground-truth, and draws no --sheet")
    own: list[dict[str, float]] = []
    for path in (args.first, args.second):
        if args.kind == "coco":
            images = score_coco_files(path, args.ground_truth).images
        else:
            images = score_gcg_files(path, args.ground_truth, args.split, exact_similarity).images
            images = [image for image in images if image.is_described]
        own.append({str(image.image_id): image.mean_iou for image in images if image.mean_iou is not None})
    changes = [Change(name, value, own[1][name]) for name, value in own[0].items()]
    figures = {"mIoU": compare_means(*own, args.draws, args.seed)}
    return Compared(figures, greatest(changes, args.changed), len(changes))


def main() -> None:
    args = parse_args()
    differences, changes, records = (compare_lines if args.kind in REFER_PROTOCOLS else compare_images)(args)
    for name, found in differences.items():
        print(
            f"{name}: A {found.first:.4f}, B {found.second:.4f}, B - A {found.second - found.first:+.4f} "
            f"({found.low:+.4f} to {found.high:+.4f}, p {found.p_value:.3f})"
        )
    for change in changes:
        print(f"{change.name}: {change.first:.3f} -> {change.second:.3f}")
    if args.json:
        content = {
            "figures": {name: found._asdict() for name, found in differences.items()},
            "changed": [change._asdict() for change in changes],
            "settings": {"kind": args.kind, "records": records, "draws": args.draws, "seed": args.seed},
            "data": file_hashes({"A": args.first, "B": args.second}),
        }
        write_json(args.json, content, indent=1)


if __name__ == "__main__":
    run_command(main)
