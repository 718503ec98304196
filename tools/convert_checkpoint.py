"""Convert published checkpoints. What comes out is safetensors; what goes in is checked tensor by tensor."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable

DTYPES = ("float32", "bfloat16", "float16")


def run_internvl(args: argparse.Namespace) -> str:
    from lira_plugin.convert import convert_internvl

    return run_published(convert_internvl, args)


def run_qwen2_vl(args: argparse.Namespace) -> str:
    from lira_plugin.convert import convert_qwen2_vl

    return run_published(convert_qwen2_vl, args)


def run_published(convert: Callable[..., dict[str, str]], args: argparse.Namespace) -> str:
    unused = convert(args.folder, args.out, args.dtype, args.shard_gb * 1e9)
    left = [f"not used: {name} ({reason})" for name, reason in sorted(unused.items())]
    return "\n".join([*left, f"wrote {args.out}/llm and {args.out}/semantic_encoder"])


def add_internvl(commands: argparse._SubParsersAction) -> None:
    text = "InternVL2 (2B, 8B) to a semantic encoder and a Llama folder with tokenizer"
    add_published(commands.add_parser("internvl", help=text, description=text), run_internvl)


def add_qwen2_vl(commands: argparse._SubParsersAction) -> None:
    text = "Qwen2-VL (2B, 7B) to a semantic encoder and a Qwen2 folder with tokenizer"
    add_published(commands.add_parser("qwen2-vl", help=text, description=text), run_qwen2_vl)


def add_published(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], str]) -> None:
    parser.set_defaults(run=run)
    parser.add_argument("folder", help="the published folder")
    parser.add_argument("out", help="folder to write to; a run that broke off goes on there")
    parser.add_argument("--dtype", choices=DTYPES, help="of the output (default: as published)")
    parser.add_argument("--shard-gb", type=float, default=2.0, help="size of an output shard, which bounds the memory")


def run_lira(args: argparse.Namespace) -> str:
    from lira_plugin.convert import convert_lira

    return f"wrote {convert_lira(args.weights, args.internvl, args.out)}"


def add_lira(commands: argparse._SubParsersAction) -> None:
    text = "a released LIRA fine-tune (LIRA-2B.pth, LIRA-8B.pth) to a checkpoint of the recipe"
    parser = commands.add_parser("lira", help=text, description=text)
    parser.set_defaults(run=run_lira)
    parser.add_argument("weights", help="the released file")
    parser.add_argument("internvl", help="the InternVL2 folder it was trained from; only config.json is read")
    parser.add_argument("out", help="folder to write model.safetensors to")


def run_omg_seg(args: argparse.Namespace) -> str:
    from mmengine.config import Config

    from lira_plugin.convert import convert_omg_seg

    unused = convert_omg_seg(Config.fromfile(args.config).model.pixel_encoder, args.weights, args.out, args.clip)
    reasons = sorted({f"not used: {count} tensors ({reason})" for reason, count in Counter(unused.values()).items()})
    return "\n".join([*reasons, f"wrote {args.out}/model.safetensors"])


def add_omg_seg(commands: argparse._SubParsersAction) -> None:
    text = "OMG-Seg (omg_seg_convl.pth) over CLIP's ConvNeXt-L to the pixel encoder of a recipe"
    parser = commands.add_parser("omg-seg", help=text, description=text)
    parser.set_defaults(run=run_omg_seg)
    parser.add_argument("weights", help="the published file")
    parser.add_argument("out", help="folder to write model.safetensors to")
    parser.add_argument("--clip", help="checkpoint of open_clip's convnext_large_d_320, for weights without a backbone")
    parser.add_argument("--config", default="configs/lira/lira_2b.py", help="recipe (default: %(default)s)")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add_command in (add_internvl, add_qwen2_vl, add_lira, add_omg_seg):
        add_command(commands)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        print(args.run(args))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
