"""Draw the words of an AttrEval set, the larger the more frequent: those of its expressions and their missing attributes.

    python tools/word_cloud.py OUT/attreval_refseg.jsonl --out cloud.png

Needs the extra: pip install 'lira-plugin[attreval]'
"""

import argparse
from pathlib import Path

from lira_plugin.command_end import run_command
from lira_plugin.datasets import AttrSegDataset
from lira_plugin.structures import refer_label
from lira_plugin.visualization import draw_word_cloud, save_image, word_counts


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=Path, help="attreval_refseg.jsonl, which tools/build_attreval.py writes")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; the suffix says the format")
    parser.add_argument("--of", choices=["expressions", "attributes", "both"], default="both", help="words to draw")
    parser.add_argument("--width", type=int, default=1200, help="of the picture in pixels")
    parser.add_argument("--height", type=int, default=700, help="of the picture in pixels")
    parser.add_argument("--max-words", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0, help="of where the words lie")
    parser.add_argument("--font", help="path of a font")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    dataset = AttrSegDataset(str(args.items), "")
    records = [dataset.get_record(index, None) for index in range(len(dataset))]
    texts = []
    if args.of != "attributes":
        texts += [refer_label(record.conversation.turns[0].question) for record in records]
    if args.of != "expressions":
        texts += [record.truth.value for record in records]
    counts = word_counts(texts)
    picture = draw_word_cloud(
        counts, width=args.width, height=args.height, max_words=args.max_words, seed=args.seed, font=args.font
    )
    save_image(args.out, picture)
    print(f"{len(counts)} words of {len(records)} expressions: {args.out}")


if __name__ == "__main__":
    run_command(main)
