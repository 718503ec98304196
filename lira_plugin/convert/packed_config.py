"""The ``config.json`` of a packed folder: a recipe's model and pipeline as plain data, and back.

Such a folder may come from anybody. So what it names is built only where it is a part of a model or a step of a pipeline, of
this package or of those that its parts are made of.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.utils import get_object_from_string
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from lira_plugin.convert.import_published import open_published, semantic_encoder_from_published
from lira_plugin.json_file import read_json
from lira_plugin.registry import SCOPE

MODEL_TYPE = "lira"
CONFIG = "config.json"
FUNCTIONS = ("timm.create_model",)
"""What builds parts and is no class."""
PARTS = ("lira_plugin.models.", "lira_plugin.datasets.transforms.", "mmdet.models.", "mmcv.cnn.", "torch.nn.")
"""Where the classes may be that a folder names."""
_LOADING = ("pretrained", "pretrained_cfg", "checkpoint_path", "init_cfg", "feature_cache")
"""Settings of parts that read other files, for weights that a packed folder has itself."""

_TIMM_NAMES = ("model_name", "vit")
"""Settings that name a model of timm; with a colon, it is one of a hub or another folder."""


def is_packed(path: str | Path | None) -> bool:
    """Whether a path is a folder that :func:`~lira_plugin.convert.pack_model` wrote.

    Raises:
        ValueError: its ``config.json`` is cut off.
    """
    config = Path(path) / CONFIG if path is not None else None
    if config is None or not config.is_file():
        return False
    content = read_json(config)
    return isinstance(content, Mapping) and content.get("model_type") == MODEL_TYPE


def as_data(node: Any, where: str) -> Any:
    """A config as JSON holds it: classes by their dotted paths.

    Args:
        node: a dictionary with what is in it.
        where: its name, for the message.

    Raises:
        ValueError: something in it is no plain data.
    """
    if isinstance(node, LazyObject | LazyAttr):
        node = node.build()
    if isinstance(node, Mapping):
        found = {key: as_data(value, f"{where}.{key}") for key, value in node.items() if key not in _LOADING}
        if isinstance(kind := found.get("type"), str):  # in a work dir, where recipes spell classes
            found["type"] = kind if _is_registered(kind) else as_data(get_object_from_string(kind), f"{where}.type")
        return found
    if isinstance(node, list | tuple):
        return [as_data(value, f"{where}[{index}]") for index, value in enumerate(node)]
    if callable(node):
        names = {get_object_from_string(name): name for name in FUNCTIONS}
        name = names.get(node) or f"{node.__module__}.{node.__qualname__}"
        _allowed(name, where)
        return name
    if node is None or isinstance(node, str | int | float | bool):
        return node
    raise ValueError(f"{where} is a {type(node).__name__}, which a packed folder cannot hold: give it as plain data")


def from_data(node: Any, where: str) -> Any:
    """Undo :func:`as_data`.

    Raises:
        ValueError: something is named that a folder may not name.
    """
    if isinstance(node, Mapping):
        if refused := [key for key in _LOADING if node.get(key)]:
            raise ValueError(f"{where} sets {refused[0]!r}, which would read other files: a packed folder may not")
        built = {key: from_data(value, f"{where}.{key}") for key, value in node.items()}
        if isinstance(kind := node.get("type"), str):
            built["type"] = _allowed(kind, f"{where}.type")
        if named := [node[key] for key in _TIMM_NAMES if ":" in str(node.get(key))]:
            raise ValueError(f"{where} names the model {named[0]!r}, which timm would look for elsewhere: refused")
        return built
    return (
        [from_data(value, f"{where}[{index}]") for index, value in enumerate(node)] if isinstance(node, list) else node
    )


def _allowed(name: str, where: str) -> Any:
    """What a dotted path names; a name of a registry, such as ``GN`` or ``mmdet.DiceLoss``, stays as it is.

    Raises:
        ValueError: it is nothing that a packed folder may name.
    """
    if name in FUNCTIONS:
        return get_object_from_string(name)
    if _is_registered(name):
        return name
    found = get_object_from_string(name) if name.startswith(PARTS) else None
    # a path may lead through a module to what that imported: the class itself says where it is from
    if not isinstance(found, type) or not f"{found.__module__}.".startswith(PARTS):
        raise ValueError(
            f"{where} names {name!r}: a packed folder may name parts of models and steps of pipelines alone"
        )
    return found


def _is_registered(name: str) -> bool:
    """Whether a name is one of a registry, maybe with its scope."""
    scope, _, rest = name.rpartition(".")
    return name in FUNCTIONS or (scope in ("", "mmdet", "mmcv", SCOPE) and rest.isidentifier())


def packed_recipe(config: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Model and pipeline of a recipe as plain data, without the files that it starts from.

    Args:
        config: the recipe.
        model: the LIRA that was built of it.

    Raises:
        ValueError: something in it is no plain data.
    """
    said = dict(config["model"])
    for name in ("init_from", "frozen", "extra_losses", "loss_weights", "tokenizer"):
        said.pop(name, None)
    said["type"] = type(model)
    said["special_tokens"] = _special_tokens(said.get("special_tokens"), model)
    said["semantic_encoder"] = encoder_settings(said["semantic_encoder"])
    template, causal_lm = model.llm.chat_template, model.llm.causal_lm
    llm = {name: value for name, value in said["llm"].items() if name not in ("llm", "gradient_checkpointing")}
    llm["chat_template"] = None if template is None else vars(template)
    said["llm"] = llm
    packed = as_data(said, "model")
    packed["llm"]["llm"] = llm_settings(causal_lm)
    for part in _dictionaries(packed["pixel_encoder"]):
        if isinstance(files := part.get("class_embeddings"), dict):  # the folder has the embeddings
            prototypes = model.pixel_encoder.segmenter.cls_embed.class_embeddings.shape[1]
            sizes = {name: files[name] for name in ("num_classes", "channels")}
            part["class_embeddings"] = {"path": "in the folder", **sizes, "prototypes": prototypes}
    steps = {name: dict(step) for name, step in config["test_dataloader"]["dataset"]["pipeline"].items()}
    if "tokenize" in steps:
        steps["tokenize"].pop("tokenizer", None)  # the model's
    return {"model": packed, "pipeline": as_data(steps, "test_dataloader.dataset.pipeline")}


def _special_tokens(said: Any, model: nn.Module) -> dict[str, Any]:
    """Their spelling; the folder's tokenizer has all of them."""
    names = ("seg", "image_id", "phrase_start", "phrase_end")
    spelling = dict(zip(names, model.tokenizer.convert_ids_to_tokens(list(model.ids)), strict=True))
    reserved = said.get("reserved", ()) if isinstance(said, Mapping) else getattr(said, "reserved", ())
    return spelling | {"reserved": list(reserved), "add_missing": False}


def encoder_settings(said: Mapping[str, Any]) -> dict[str, Any]:
    """The class and arguments of a semantic encoder that may be read from a published folder."""
    said = {name: value for name, value in said.items() if name not in _LOADING}
    kind = said["type"]
    if isinstance(kind, str):
        kind = kind if _is_registered(kind) else get_object_from_string(kind)
    if kind is not semantic_encoder_from_published:
        return said
    source = open_published(said["path"], said.get("published"), said.get("obtain", ""))
    own = {name: said[name] for name in said.keys() - {"type", "path", "published", "obtain", "dtype"}}
    return {"type": source.encoder_class, **source.semantic_encoder_args(), **own}


def llm_settings(causal_lm: PreTrainedModel) -> dict[str, Any]:
    """What makes an LLM like this one, without weights."""
    config = causal_lm.config
    return {"settings": config.to_dict(), "attn_implementation": config._attn_implementation}


def llm_from_settings(settings: Mapping[str, Any], attn_implementation: str | None = None) -> PreTrainedModel:
    """An LLM of transformers' own, whatever code a configuration names."""
    config = AutoConfig.for_model(**{name: value for name, value in settings.items() if name != "auto_map"})
    return AutoModelForCausalLM.from_config(config, attn_implementation=attn_implementation)


def read_packed(folder: str | Path) -> Config:
    """The recipe of a packed folder, as far as answering needs it.

    Raises:
        ValueError: it is of a newer layout, or names what a folder may not name.
    """
    folder = Path(folder)
    packed = read_json(folder / CONFIG).get("lira")
    if not isinstance(packed, Mapping) or not {"model", "pipeline"} <= packed.keys():
        raise ValueError(f"{folder / CONFIG} has no 'lira' with 'model' and 'pipeline': pack the model again")
    try:
        llm = dict(packed["model"]["llm"])
        causal_lm = llm.pop("llm")
        model = from_data({**packed["model"], "llm": llm}, "model")
        model["llm"]["llm"] = {"type": llm_from_settings, **causal_lm}
        model["tokenizer"] = {
            "type": AutoTokenizer.from_pretrained,
            "pretrained_model_name_or_path": str(folder),
            "local_files_only": True,
        }
        pipeline = from_data(packed["pipeline"], "pipeline")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG} is no packed LIRA: {error}") from error
    return Config(
        {
            "default_scope": SCOPE,
            "model": ConfigDict(model),
            "test_dataloader": {"dataset": {"pipeline": pipeline}},
        },
        filename=str(folder / CONFIG),
    )


def _dictionaries(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node, *(inner for value in node.values() for inner in _dictionaries(value))]
    return [inner for value in node for inner in _dictionaries(value)] if isinstance(node, list) else []
