"""What each base amounts to, without its weights: parameters, positions of an image, memory; and how exactly its twins are read.

A twin is a small random folder in exactly the layout that is published. Parity is the largest difference between what a part says
after it was read and what a plain statement of the published model says (``tests/support/internvl_twins.py``), or transformers'
own model of it (``tests/support/newer_qwen_twins.py``). The newest bases need the second environment.

    uv run --project envs/modern python benchmarks/bases.py --json benchmarks/bases.json   # prints the tables of bases.md
"""

import argparse
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from report import write_report
from tqdm import tqdm

from lira_plugin.convert import llm_from_published, semantic_encoder_from_published
from lira_plugin.describe import describe_recipe
from lira_plugin.models import InterleavedLLM

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the twins
from support import newer_qwen_twins  # noqa: E402
from support.internvl_twins import Twin, logits, semantic_tokens, write_twin  # noqa: E402

RECIPES = (
    *("lira_2b", "lira_8b", "lira_qwen2_1_5b"),
    *(f"lira_internvl2_5_{size}" for size in ("1b", "2b", "4b", "8b")),
    *(f"lira_internvl3_{size}" for size in ("1b", "2b", "8b")),
    *(f"lira_internvl3_5_{size}" for size in ("1b", "2b", "4b", "8b")),
    *(f"lira_qwen2_5_vl_{size}" for size in ("3b", "7b")),
    *(f"lira_qwen3_vl_{size}" for size in ("2b", "4b")),
)
TWINS = (
    *(Twin(llm, layout) for llm in ("InternLM2", "Qwen2") for layout in ("original", "hf", "hf5")),
    *(Twin("Qwen2", layout, "rms_norm", qk_norm=True, qkv_bias=False) for layout in ("original", "hf")),
    *(Twin("Qwen3", layout) for layout in ("original", "hf", "hf5")),
)
IMAGE = "640x480"


@dataclass(frozen=True)
class BaseRow:
    """A recipe of stage 2."""

    recipe: str
    base: int
    """Parameters of semantic encoder and LLM as published."""
    total: int
    trained: int
    positions: int
    """Of a 640 x 480 image."""
    train_gb: float
    """Under AMP on one GPU."""
    zero2_gb: float
    """On each of eight GPUs."""
    infer_gb: float
    """Weights in bf16 with the keys and values of one sequence."""


@dataclass(frozen=True)
class ParityRow:
    """The largest difference in logits, and in semantic tokens."""

    twin: str
    llm: float
    semantic_encoder: float


def describe(recipe: str) -> BaseRow:
    said: dict[str, Any] = describe_recipe(Config.fromfile(ROOT / "configs" / "lira" / f"{recipe}.py"))
    memory, image = said["memory_gb"], said["sequence"]["images"][IMAGE]
    return BaseRow(
        recipe,
        said["base"],
        said["total"],
        said["trainable"],
        image["total"],
        memory["amp"]["1"]["total"],
        memory["zero2"]["8"]["total"],
        sum(said["inference_gb"].values()),
    )


@torch.no_grad()
def parity(twin: Twin) -> ParityRow:
    with tempfile.TemporaryDirectory() as folder:
        state = write_twin(Path(folder), twin)
        llm, encoder = llm_from_published(folder).eval(), semantic_encoder_from_published(folder).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(300, (40,), generator=generator)
    tiles = torch.randint(256, (2, 3, 56, 56), dtype=torch.uint8, generator=generator)
    words = (llm(ids[None]).logits[0] - logits(state, ids, twin)).abs().max()
    tokens = (encoder(tiles) - torch.stack([semantic_tokens(state, tile, twin) for tile in tiles])).abs().max()
    return ParityRow(str(twin), float(words), float(tokens))


@torch.no_grad()
def qwen_parity(kind: str) -> ParityRow:
    """Of images in a text, at positions that count in one line, and of the tokens of the tower."""
    side, image = newer_qwen_twins.TILES[kind], newer_qwen_twins.IDS["image_token_id"]
    with tempfile.TemporaryDirectory() as folder:
        model = newer_qwen_twins.write(folder, kind)
        llm = InterleavedLLM(llm_from_published(folder)).eval()
        encoder = semantic_encoder_from_published(folder, tile_size=side).eval()
    tiles = torch.randint(256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    view = [newer_qwen_twins.IDS["vision_start_token_id"], *[image] * encoder.tokens_per_tile]
    ids = torch.tensor([[5, 6, *view, 7, *view, 8, 9]])
    given = newer_qwen_twins.cut(kind, tiles)
    published = model.model.visual(given["pixel_values"], given["image_grid_thw"])
    published = torch.cat([published[0], *published[1]], -1) if isinstance(published, tuple) else published
    tokens = encoder(tiles).flatten(0, 1)
    embeddings = llm.embed(ids)
    embeddings[ids == image] = tokens
    words = llm.logits(llm(embeddings, torch.ones_like(ids, dtype=torch.bool)).hidden)
    positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
    words = (words - model(ids, position_ids=positions, **given).logits).abs().max()
    return ParityRow(kind, float(words), float((tokens - published).abs().max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as nothing:
        os.environ["LIRA_WEIGHTS"] = nothing  # sizes stand in for folders
        rows = [describe(recipe) for recipe in tqdm(RECIPES)]
    for row in rows:
        sizes = f"{row.base:,} | {row.total:,} | {row.trained:,} | {row.positions:,}"
        print(f"| `{row.recipe}` | {sizes} | {row.train_gb:.1f} | {row.zero2_gb:.1f} | {row.infer_gb:.1f} |")
    twins = [parity(twin) for twin in TWINS]
    for twin, row in zip(TWINS, twins):
        norms = f"{twin.norm_type}{', norm of queries and keys, no bias' if twin.qk_norm else ''}"
        print(f"| {twin.llm} | {twin.layout} | {norms} | {row.llm:.1e} | {row.semantic_encoder:.1e} |")
    for row in (qwen := [qwen_parity(kind) for kind in newer_qwen_twins.CONFIGS]):
        print(f"| {row.twin} | {row.llm:.1e} | {row.semantic_encoder:.1e} |")
    if args.json:
        write_report(args.json, rows, parity=[asdict(row) for row in [*twins, *qwen]])


if __name__ == "__main__":
    main()
