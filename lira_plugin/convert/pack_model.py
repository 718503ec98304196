"""Write a trained model as one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from lira_plugin.convert.model_card import model_card
from lira_plugin.convert.packed_config import CONFIG, MODEL_TYPE, packed_recipe
from lira_plugin.convert.packed_weights import load_model, write_weights
from lira_plugin.models import LIRA
from lira_plugin.precision import as_dtype
from lira_plugin.version import __version__
from lira_plugin.written_aside import write_json, write_text, written_aside

REMOTE_CODE = '''"""LIRA for ``AutoModel.from_pretrained(FOLDER, trust_remote_code=True)``: its code is in lira_plugin."""

from lira_plugin.inference.auto_model import LIRAConfig, LIRAModel

__all__ = ["LIRAConfig", "LIRAModel"]
'''
AUTO_MAP = {"AutoConfig": "modeling_lira.LIRAConfig", "AutoModel": "modeling_lira.LIRAModel"}


def pack_model(
    recipe: Config,
    weights: str | Path | None,
    out: str | Path,
    dtype: str | torch.dtype | None = None,
    scores: Sequence[str | Path] = (),
    shard_bytes: float = 2e9,
) -> Path:
    """Write everything that answering needs into one folder: it is read without the weights that the recipe starts from.

    The folder gets its name when it is complete. In it are ``model*.safetensors`` with all parts, the tokenizer, ``config.json``
    (model and pipeline as plain data), ``preprocessor_config.json`` (sizes and normalisation of images, for people),
    ``README.md`` (the model card) and ``modeling_lira.py``, through which transformers' ``AutoModel`` finds this package.

    Args:
        recipe: of the model, whose ``test_dataloader`` says how images and questions are prepared.
        weights: checkpoint, work dir or packed folder; None keeps the weights that the recipe starts from.
        out: folder to write, which must not be there.
        dtype: of the weights; None keeps it, and the answers bit by bit.
        scores: JSON files that metrics wrote, for the model card.
        shard_bytes: of a file.

    Raises:
        FileExistsError: there is such a folder.
        FileNotFoundError: the checkpoint, or weights that the recipe starts from, are missing.
        ValueError: the recipe is of no LIRA, has no pipeline for prompts, or has something in it that is no plain data.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f"{out} is there already: remove it or name another folder")
    if not ((recipe.get("test_dataloader") or {}).get("dataset") or {}).get("pipeline"):
        raise ValueError(
            f"{recipe.filename or 'the recipe'} does not say how images and questions are prepared: it needs test_dataloader"
        )
    model = load_model(recipe, weights, dtype=as_dtype(dtype))
    if not isinstance(model, LIRA):
        raise ValueError(f"{recipe.filename or 'the recipe'} makes a {type(model).__name__}: only a LIRA can be packed")
    config = _config(recipe, model)
    name = Path(recipe.filename).stem if recipe.filename else "recipe"
    card = model_card(name, recipe, model, scores)
    with written_aside(out) as folder:
        folder.mkdir()
        write_weights(model, folder, str(weights or name), shard_bytes)
        model.tokenizer.save_pretrained(folder)
        write_json(folder / CONFIG, config, indent=1)
        write_json(folder / "preprocessor_config.json", _preprocessor(model, config["lira"]["pipeline"]), indent=1)
        write_text(folder / "modeling_lira.py", REMOTE_CODE)
        write_text(folder / "README.md", card)
    return out


def _config(recipe: Config, model: LIRA) -> dict[str, Any]:
    kind = str(next(model.parameters()).dtype).removeprefix("torch.")
    return {
        "architectures": ["LIRAModel"],
        "model_type": MODEL_TYPE,
        "auto_map": AUTO_MAP,
        "torch_dtype": kind,
        "lira_plugin": __version__,
        "lira": packed_recipe(recipe, model),
    }


def _preprocessor(model: LIRA, pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of the preparation of images."""
    spec = model.input_spec
    encoders = {"semantic_encoder": model.semantic_encoder, "pixel_encoder": model.pixel_encoder}
    normalisation = {
        f"{name}_{kind}": getattr(part, kind).flatten().tolist()
        for name, part in encoders.items()
        for kind in ("mean", "std")
        if isinstance(getattr(part, kind, None), torch.Tensor)
    }
    tiles = {name: value for name, value in pipeline.get("tile", {}).items() if name != "type"}
    sizes = {"tile_size": spec.tile_size, "tokens_per_tile": spec.tokens_per_tile, "image_size": spec.image_size}
    return {"image_processor_type": "LIRA", **sizes, "tiles": tiles, **normalisation}
