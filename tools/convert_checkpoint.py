"""Convert published checkpoints and our own. What goes in is checked tensor by tensor, and no code in it is run."""

import argparse
from collections import Counter
from collections.abc import Callable

from lira_plugin.command_end import run_command

BACKBONES = ("swin_t", "swin_s", "swin_b", "swin_l", "r50", "r101")
DTYPES = ("float32", "bfloat16", "float16")
WEIGHTS_IN = "checkpoint, or work dir for its last one"
WEIGHTS_OUT = "file to write: .pth, which xtuner test and load_from read, or .safetensors"
Commands = argparse._SubParsersAction
Run = Callable[[argparse.Namespace], str]


def add_command(
    commands: Commands, name: str, run: Run, text: str, aliases: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """A subcommand; what ``run`` returns is printed."""
    parser = commands.add_parser(name, help=text, description=text, aliases=aliases)
    parser.set_defaults(run=run)
    return parser


def run_published(args: argparse.Namespace) -> str:
    from lira_plugin.convert import convert_published

    unused = convert_published(args.folder, args.out, args.dtype, args.shard_gb * 1e9)
    left = [f"not used: {name} ({reason})" for name, reason in sorted(unused.items())]
    return "\n".join([*left, f"wrote {args.out}/llm and {args.out}/semantic_encoder"])


def add_published(commands: Commands) -> None:
    text = "a published InternVL or Qwen2-VL folder to a semantic encoder and an LLM folder with tokenizer"
    parser = add_command(commands, "published", run_published, text, aliases=("internvl", "qwen2-vl"))
    parser.add_argument("folder", help="the published folder")
    parser.add_argument("out", help="folder to write to; a run that broke off goes on there")
    parser.add_argument("--dtype", choices=DTYPES, help="of the output (default: as published)")
    parser.add_argument("--shard-gb", type=float, default=2.0, help="size of an output shard, which bounds the memory")


def run_lira(args: argparse.Namespace) -> str:
    from lira_plugin.convert import convert_lira

    return f"wrote {convert_lira(args.weights, args.internvl, args.out)}"


def add_lira(commands: Commands) -> None:
    text = "a released LIRA fine-tune (LIRA-2B.pth, LIRA-8B.pth) to a checkpoint of the recipe"
    parser = add_command(commands, "lira", run_lira, text)
    parser.add_argument("weights", help="the released file")
    parser.add_argument("internvl", help="the InternVL2 folder it was trained from; only config.json is read")
    parser.add_argument("out", help=WEIGHTS_OUT)


def run_export_lira(args: argparse.Namespace) -> str:
    from lira_plugin.convert import export_lira

    path = export_lira(args.weights, args.internvl, args.out, args.stack)
    note = "\nthe adapter of wqkv has three times the rank r of the others: the LoraConfig that loads it needs"
    note += ' rank_pattern={"wqkv": 3 * r} and alpha_pattern={"wqkv": 3 * lora_alpha}'
    return f"wrote {path}{note if args.stack else ''}"


def add_export_lira(commands: Commands) -> None:
    text = "a checkpoint of the LoRA fine-tune to the layout of the released files (LIRA-2B.pth)"
    parser = add_command(commands, "export-lira", run_export_lira, text)
    parser.add_argument("weights", help=WEIGHTS_IN)
    parser.add_argument("internvl", help="the InternVL2 folder it was trained from; only config.json is read")
    parser.add_argument("out", help=WEIGHTS_OUT)
    text = "stack the adapters of query, key and value where they share no matrix A: exact, of three times the rank"
    parser.add_argument("--stack", action="store_true", help=text)


def run_merge_lora(args: argparse.Namespace) -> str:
    from lira_plugin.convert import merge_lora
    from lira_plugin.inference import find_recipe

    if args.dtype and not args.llm:
        raise ValueError("--dtype is of the folder that --llm names; the checkpoint keeps the recipe's data type")
    recipe, weights = find_recipe(args.config, args.weights)
    written = [merge_lora(recipe, weights, args.out, args.llm, args.dtype), *([args.llm] if args.llm else [])]
    return f"wrote {' and '.join(map(str, written))}; the recipe without model.llm.lora reads the checkpoint"


def add_merge_lora(commands: Commands) -> None:
    text = "LoRA adapters into the LLM: a checkpoint without them, and the LLM as a folder for other tools"
    parser = add_command(commands, "merge-lora", run_merge_lora, text)
    parser.add_argument("weights", help=WEIGHTS_IN)
    parser.add_argument("out", help=WEIGHTS_OUT)
    parser.add_argument("--config", help="recipe of the fine-tune (default: the one in the work dir)")
    parser.add_argument("--llm", metavar="FOLDER", help="write LLM and tokenizer there too")
    parser.add_argument("--dtype", choices=DTYPES, help="of the LLM in the folder --llm (default: the recipe's)")


def run_grow_vocabulary(args: argparse.Namespace) -> str:
    from pathlib import Path

    from lira_plugin.convert import grow_checkpoint, grow_llm_folder
    from lira_plugin.inference import find_recipe

    source = Path(args.source)
    if args.tokenizer is None:
        if args.config:
            raise ValueError("--config is the recipe of a checkpoint, whose tokenizer goes where --tokenizer says")
        growth = grow_llm_folder(source, args.tokens, args.out)
    else:
        recipe, weights = find_recipe(args.config, source)
        growth = grow_checkpoint(recipe, weights, args.tokens, args.out, args.tokenizer)
    return f"{growth}\nwrote {' and '.join(filter(None, (args.out, args.tokenizer)))}"


def add_grow_vocabulary(commands: Commands) -> None:
    text = "new special tokens for the folder of an LLM or, with --tokenizer, for a checkpoint; they start as the mean"
    parser = add_command(commands, "grow-vocabulary", run_grow_vocabulary, text)
    parser.add_argument("source", help="Hugging Face folder of an LLM; with --tokenizer, checkpoint or work dir")
    parser.add_argument("out", help="folder to write to; with --tokenizer, file (.pth or .safetensors)")
    parser.add_argument("--tokens", nargs="+", required=True, metavar="TOKEN", help="such as '<seg>' '<image_id>'")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="source is a checkpoint: where its tokenizer goes")
    parser.add_argument("--config", help="with --tokenizer: recipe of the checkpoint (default: that in the work dir)")


def run_pack(args: argparse.Namespace) -> str:
    from lira_plugin.convert import pack_model
    from lira_plugin.inference import find_recipe

    recipe, weights = find_recipe(args.config, args.weights)
    return f"wrote {pack_model(recipe, weights, args.out, args.dtype, args.scores, args.shard_gb * 1e9)}"


def add_pack(commands: Commands) -> None:
    text = "a trained model as one folder, which LIRAInferencer and AutoModel read without anything else"
    parser = add_command(commands, "pack", run_pack, text)
    parser.add_argument("config", help="recipe, or the work dir that has it")
    parser.add_argument("weights", help=WEIGHTS_IN)
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--dtype", choices=DTYPES, help="of the weights (default: as they are)")
    parser.add_argument(
        "--scores", nargs="+", default=[], metavar="JSON", help="what metrics wrote, for the model card"
    )
    parser.add_argument("--shard-gb", type=float, default=2.0, help="size of a file")


def run_push(args: argparse.Namespace) -> str:
    from lira_plugin.convert import push_folder

    return f"pushed to {push_folder(args.folder, args.repository, not args.public)}"


def add_push(commands: Commands) -> None:
    text = "a packed folder to a Hugging Face hub, as the account that `huggingface-cli login` or HF_TOKEN names"
    parser = add_command(commands, "push", run_push, text)
    parser.add_argument("folder", help="the packed folder")
    parser.add_argument("repository", help="such as someone/lira-2b")
    parser.add_argument("--public", action="store_true", help="of a repository that is made (default: private)")


def run_onnx(args: argparse.Namespace) -> str:
    from lira_plugin.convert import export_mask_decoder
    from lira_plugin.inference import LIRAInferencer

    lira = LIRAInferencer(args.model, args.weights, "cpu", dtype="float32")
    names = export_mask_decoder(lira.model, args.out, args.queries)
    return f"wrote {args.out}, which takes {', '.join(names)}"


def add_onnx(commands: Commands) -> None:
    parser = add_command(
        commands, "onnx", run_onnx, "the mask decoder to an ONNX graph with a fixed count of queries an image"
    )
    parser.add_argument("model", help="recipe, work dir or packed folder")
    parser.add_argument("out", help="file to write")
    parser.add_argument("--weights", help=f"{WEIGHTS_IN}; by default those of the work dir or folder")
    parser.add_argument("--queries", type=int, default=8, help="<seg> states an image (default: %(default)s)")


def run_consolidate_zero(args: argparse.Namespace) -> str:
    from lira_plugin.convert import consolidate_zero

    return f"wrote {consolidate_zero(args.folder, args.out)}"


def add_consolidate_zero(commands: Commands) -> None:
    text = "a DeepSpeed ZeRO checkpoint (a folder iter_N.pth) to one file with the trained fp32 weights"
    parser = add_command(commands, "consolidate-zero", run_consolidate_zero, text)
    parser.add_argument("folder", help="the checkpoint, or the work dir for its last one")
    parser.add_argument("out", help=WEIGHTS_OUT)


def run_omg_seg(args: argparse.Namespace) -> str:
    from mmengine.config import Config

    from lira_plugin.convert import convert_omg_seg

    unused = convert_omg_seg(Config.fromfile(args.config).model.pixel_encoder, args.weights, args.out, args.clip)
    reasons = sorted({f"not used: {count} tensors ({reason})" for reason, count in Counter(unused.values()).items()})
    return "\n".join([*reasons, f"wrote {args.out}/model.safetensors"])


def add_omg_seg(commands: Commands) -> None:
    text = "OMG-Seg (omg_seg_convl.pth) over CLIP's ConvNeXt-L to the pixel encoder of a recipe"
    parser = add_command(commands, "omg-seg", run_omg_seg, text)
    parser.add_argument("weights", help="the published file")
    parser.add_argument("out", help="folder to write model.safetensors to")
    parser.add_argument("--clip", help="checkpoint of open_clip's convnext_large_d_320, for weights without a backbone")
    parser.add_argument("--config", default="configs/lira/lira_2b.py", help="recipe (default: %(default)s)")


def run_mmdet(args: argparse.Namespace) -> str:
    from mmengine.config import Config

    from lira_plugin.convert import convert_mmdet

    config = Config.fromfile(args.config)
    if args.backbone is not None:
        config.model.pixel_encoder.pop("backbone")
        config.model.merge(config.mask2former[args.backbone])
    return f"wrote {convert_mmdet(config.model.pixel_encoder, args.weights, args.out)}"


def add_mmdet(commands: Commands) -> None:
    text = "a published Mask2Former of mmdet (COCO, Swin or ResNet) to the pixel encoder of a recipe"
    parser = add_command(commands, "mmdet", run_mmdet, text)
    parser.add_argument("weights", help="the published file")
    parser.add_argument("out", help="folder to write model.safetensors to")
    parser.add_argument("--backbone", choices=BACKBONES, help="that of the file (default: that of the recipe)")
    parser.add_argument("--config", default="configs/lira/lira_2b_swin_t.py", help="recipe (default: %(default)s)")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    published = (add_published, add_lira, add_omg_seg, add_mmdet)
    for add in (
        *published,
        add_pack,
        add_push,
        add_export_lira,
        add_merge_lora,
        add_grow_vocabulary,
        add_consolidate_zero,
    ):
        add(commands)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    print(args.run(args))


if __name__ == "__main__":
    run_command(main)
