"""Draw what a checkpoint thinks an object is: the words of its attributes at the <seg>, as bars beside the mask.

    python tools/attributes.py lira_2b checkpoint.pth street.jpg "the car on the left" --out car.png
    python tools/attributes.py lira_tiny work_dirs/tiny/lira scene.jpg "small star" --words color=red,blue,green --out star.png
    python tools/attributes.py lira_2b checkpoint.pth --items OUT/attreval_refseg.jsonl --image-root train2014 --out some.png

Words are those of the package's lexicons, unless --lexicon or --words says others. With --items it draws expressions of AttrEval,
whose missing attribute is known; tools/build_attreval.py writes them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lira_plugin.command_end import run_command
from lira_plugin.datasets import AttrSegDataset
from lira_plugin.inference import AttributeReading, LIRAInferencer
from lira_plugin.models.generation import WordSet
from lira_plugin.recipes import read_recipe
from lira_plugin.structures import load_lexicons, refer_label
from lira_plugin.visualization import attribute_row, panel, save_image

Item = tuple[str, str, dict[str, str]]
"""Path of an image, an expression, and the true values that are known."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="recipe of the model")
    parser.add_argument("checkpoint", type=Path, help="checkpoint file or work dir")
    parser.add_argument("image", nargs="?", help="an image")
    parser.add_argument("expression", nargs="?", help="what to segment in it")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; the suffix says the format")
    parser.add_argument("--items", type=Path, help="attreval_refseg.jsonl, in place of image and expression")
    parser.add_argument("--image-root", default="", help="folder of the images of --items")
    parser.add_argument("--count", type=int, default=4, help="items that are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of items")
    parser.add_argument(
        "--lexicon", type=Path, nargs="+", default=[], help="your own lexicons, as of tools/build_attreval.py"
    )
    parser.add_argument(
        "--words",
        action="append",
        default=[],
        metavar="KIND=A,B,C",
        help="words of a kind, in place of all; by default the recipe's, else the package's",
    )
    parser.add_argument("--rule", choices=["first", "whole"], default="first", help="tokens of a word that count")
    parser.add_argument(
        "--stage", choices=["coarse", "refined"], default="coarse", help="the <seg> before or after the phrase"
    )
    parser.add_argument("--lines", type=int, default=5, help="words of each kind")
    parser.add_argument("--cell-height", type=int, default=220, help="height of each picture in pixels")
    parser.add_argument("--width", type=int, default=1600, help="greatest width of the figure in pixels")
    parser.add_argument("--font", help="path of a font to prefer, for scripts that no installed font has")
    parser.add_argument("--device", help="where to run, by default a GPU if there is one")
    args = parser.parse_args()
    if (args.items is None) == (args.expression is None):
        parser.error("give an image and an expression, or --items")
    if any(not kind or not words for kind, _, words in (text.partition("=") for text in args.words)):
        parser.error(f"--words are a kind and its words, such as color=red,blue; got {args.words}")
    return args


def word_sets(args: argparse.Namespace) -> dict[str, WordSet] | None:
    """The words that are asked for; None leaves them to the recipe."""
    if args.words:
        return {kind: words.split(",") for kind, _, words in (text.partition("=") for text in args.words)}
    if args.lexicon:
        return {kind: lexicon.values for kind, lexicon in load_lexicons(args.lexicon).items()}
    return None


def drawn_items(args: argparse.Namespace) -> Iterator[Item]:
    if args.items is None:
        yield args.image, args.expression, {}
        return
    dataset, rng = AttrSegDataset(str(args.items), args.image_root), np.random.default_rng(args.seed)
    for index in sorted(rng.permutation(len(dataset))[: args.count]):
        record = dataset.get_record(int(index), rng)
        expression = refer_label(record.conversation.turns[0].question)
        yield record.image_path, expression, {record.truth.kind: record.truth.value}


def report(name: str, reading: AttributeReading, args: argparse.Namespace) -> Iterator[str]:
    yield f"{name}: {reading.expression}"
    for kind, words in reading.words_of(args.stage).items():
        yield f"  {kind:<10} " + ", ".join(f"{word.value} {word.prob:.3f}" for word in words[: args.lines])


def main() -> None:
    args = parse_args()
    sets, items = word_sets(args), list(drawn_items(args))
    lira = LIRAInferencer(read_recipe(args.config), args.checkpoint, args.device, show_progress=False)
    rows = []
    for image, expression, truth in items:
        reading = lira.attributes(image, expression, sets, rule=args.rule)
        print(*report(image, reading, args), sep="\n", flush=True)
        row = attribute_row(
            reading.image,
            reading.span.mask_of(args.stage),
            reading.words_of(args.stage),
            expression=reading.expression,
            stage=args.stage,
            truth=truth,
            cell_height=args.cell_height,
            lines=args.lines,
            font=args.font,
        )
        rows.append(row)
    save_image(args.out, panel(rows, cell_height=args.cell_height, width=args.width, font=args.font))
    print(f"{len(rows)} expressions: {args.out}")


if __name__ == "__main__":
    run_command(main)
