"""Recipes with random weights: of tiny parts, and the tiny recipe's work dir as a training leaves it."""

from pathlib import Path
from unittest.mock import patch

import mmengine.config.config
import torch
from mmengine.config import Config

from lira_plugin.datasets import ILVC, DecodeRegions, LetterboxImage, LoadImage, PackGroundingInputs
from lira_plugin.datasets import TileImage as Tile
from lira_plugin.datasets import TokenizeConversation as Tokenize
from lira_plugin.inference import LIRAInferencer
from lira_plugin.registry import MODELS
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from support.paths import config_path
from support.tiny_model import IMAGE, LAYOUT, TEMPLATE, TILE, lira_config, tiny_tokenizer
from support.word_grammar import write_regions


def tiny_recipe():
    """A recipe of a LIRA with random weights; the steps are in no order, as in a recipe that was written out."""
    return Config(
        {
            "model": dict(
                type="lira_plugin.LIRA",
                **lira_config(generation={"max_new_tokens": 24, "repetition_penalty": 1.3, "batch_size": 4}),
            ),
            "test_dataloader": {
                "dataset": {
                    "pipeline": {
                        "tokenize": {"type": Tokenize, "tokenizer": tiny_tokenizer(), "layout": LAYOUT},
                        "pack": {"type": PackGroundingInputs},
                        "load": {"type": LoadImage},
                        "decode": {"type": DecodeRegions},
                        "letterbox": {"type": LetterboxImage, "size": IMAGE},
                        "interleave": {"type": ILVC, "size": TILE, "template": TEMPLATE},
                        "tile": {"type": Tile, "size": TILE, "max_tiles": 2},
                    }
                }
            },
        }
    )


def tiny_inferencer():
    """Its answers are noise in which regions are frequent."""
    torch.manual_seed(0)
    lira = LIRAInferencer(tiny_recipe(), device="cpu", show_progress=False)
    write_regions(lira.model)
    return lira


def unformatted_configs():
    """Have configs written without layout, which takes seconds."""
    return patch.object(mmengine.config.config, "FormatCode", lambda text, **style: (text, True))


def write_work_dir(root: Path, scenes: int = 8, eval_scenes: int = 3, recipe: str = "lira_tiny") -> Path:
    """Write scenes and a work dir ``lira`` below ``root``; the environment is to say LIRA_TINY_ROOT=root."""
    write_scene_tokenizer(write_scenes(root / "data", scenes, eval_scenes, progress=False))
    work_dir = root / "lira"
    work_dir.mkdir()
    config = Config.fromfile(config_path(recipe))
    config.model.update(init_from=[], frozen=[])  # so that the checkpoint has all weights
    config.model.generation.update(max_new_tokens=12)
    with unformatted_configs():
        config.dump(work_dir / f"{recipe}.py")
    torch.manual_seed(0)
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, work_dir / "iter_7.pth")
    (work_dir / "last_checkpoint").write_text(str(work_dir / "iter_7.pth"))
    return work_dir
