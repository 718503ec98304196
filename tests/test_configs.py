"""Every config file loads, stays short, survives being written out, and spells the arguments of what it names."""

import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.runner import Runner
from support.paths import RECIPES, config_path

import lira_plugin.recipes  # noqa: F401  (it makes mmdet importable without compiled operators, and finds installed recipes)
from lira_plugin.settings import SHARE_KEYS

LEAVES = RECIPES
SCOPES = ("mmdet.", "lira_plugin.", "mmengine.")
SETTINGS = {*inspect.signature(Runner.__init__).parameters} - {"self", "cfg"}
VARIABLES = ("LIRA_OWN_DATA", "LIRA_TINY_ROOT", "LIRA_ROOT", "LIRA_DATA", "LIRA_WEIGHTS")
FILES = ("LIRA_INTERNVL2_2B", "LIRA_INTERNVL2_8B", "LIRA_QWEN2_VL_2B", "LIRA_CLASS_EMBEDDINGS", "LIRA_OMG_SEG")
FILES += tuple(f"LIRA_INTERNVL2_5_{size}" for size in ("1B", "2B", "4B", "8B"))
FILES += tuple(f"LIRA_INTERNVL3_{size}" for size in ("1B", "2B", "8B"))
FILES += tuple(f"LIRA_INTERNVL3_5_{size}" for size in ("1B", "2B", "4B", "8B"))
FILES += ("LIRA_QWEN2_5_VL_3B", "LIRA_QWEN2_5_VL_7B", "LIRA_QWEN3_VL_2B", "LIRA_QWEN3_VL_4B")


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Load a config by path; recipes read and write below a folder of their own."""
    root = tmp_path_factory.mktemp("tiny")
    loaded: dict[Path, Config] = {}

    def load(path: Path) -> Config:
        if path not in loaded:
            with pytest.MonkeyPatch.context() as patch:
                for variable in VARIABLES:
                    patch.setenv(variable, str(root))
                for variable in FILES:
                    patch.delenv(variable, raising=False)
                loaded[path] = Config.fromfile(path)
        return loaded[path]

    load.root = root
    return load


leaves = pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)


def walk(node, place: str = "cfg") -> Iterator[tuple[str, dict]]:
    """All dictionaries with a ``type``, with their place."""
    if isinstance(node, dict):
        if "type" in node:
            yield place, node
        for key, value in node.items():
            yield from walk(value, f"{place}.{key}")
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from walk(value, f"{place}[{index}]")


def plain(node):
    """The config with the objects that its lazy imports stand for."""
    if isinstance(node, LazyObject | LazyAttr):
        return node.build()
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    return type(node)(map(plain, node)) if isinstance(node, list | tuple) else node


def content(cfg: Config) -> dict:
    return plain(cfg._cfg_dict)


def named_in_a_registry(name: str) -> object:
    """What a string names in MMEngine's own registries, where mmcv's layers are too."""
    import mmcv.cnn  # noqa: F401
    from mmengine import registry

    for node in vars(registry).values():
        if isinstance(node, registry.Registry) and name in node._module_dict:
            return node._module_dict[name]
    raise LookupError(f"{name!r} is in no registry of MMEngine: name the class, or put the scope in front")


def taken(place: str) -> set[str]:
    """Keys that the reader of a dictionary takes out before it builds the rest."""
    return {"type", *SHARE_KEYS} if ".dataset.datasets[" in place else {"type"}  # MixtureDataset


def misspelt(cfg: dict) -> list[str]:
    """Dictionaries whose keys are no arguments of what their ``type`` names."""
    found = []
    for place, node in walk(cfg):
        made = node["type"]
        if isinstance(made, str):
            continue  # see test_strings_name_their_scope
        assert callable(made), f"{place}: {made!r}"
        try:
            inspect.signature(made).bind_partial(
                **{key: value for key, value in node.items() if key not in taken(place)}
            )
        except TypeError as error:
            found.append(f"{place}: {made.__name__}: {error}")
    return found


def test_there_are_configs():
    assert {"lira_tiny", "lira_tiny_pretrain", "lira_tiny_segmenter", "lira_tiny_semantic"} <= {
        path.stem for path in LEAVES
    }
    assert {"lira_2b_pretrain", "lira_2b", "lira_8b_pretrain", "lira_8b"} <= {path.stem for path in LEAVES}
    assert {"lira_qwen2_1_5b_pretrain", "lira_qwen2_1_5b"} <= {path.stem for path in LEAVES}


def test_the_stages_of_the_fast_recipe_train_parts_of_one_model(load):
    """Each leaf reads its model from more than one base, so that they could differ unseen."""
    segmenter, semantic, whole = (load(config_path(f"lira_tiny_fast{end}")) for end in ("_segmenter", "_semantic", ""))
    assert content(segmenter)["model"] == content(whole)["model"]["pixel_encoder"]
    assert content(semantic)["model"]["semantic_encoder"] == content(whole)["model"]["semantic_encoder"]
    assert segmenter.model.image_size == 64 and segmenter.model.segmenter.num_queries == 9


@leaves
def test_a_leaf_is_short_and_says_what_it_is(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith('"""') and len(lines[0]) > 20


@leaves
def test_it_loads_and_has_what_training_needs(load, path):
    cfg = load(path)
    assert {"model", "train_dataloader", "train_cfg", "optim_wrapper", "work_dir"} <= set(cfg)
    assert cfg.default_scope == "lira_plugin"
    shares = [tuple(scheduler.share) for scheduler in cfg.param_scheduler]
    assert shares[0][0] == 0 and shares[-1][1] == 1, "the schedule is as long as the training"
    assert all(one[1] == two[0] for one, two in pairwise(shares))
    assert all(scheduler.by_epoch is False and "end" not in scheduler for scheduler in cfg.param_scheduler)
    absent = [cfg.get(key) is None for key in ("test_dataloader", "test_cfg", "test_evaluator")]
    assert len(set(absent)) == 1, "all three or none, as the runner wants it"


@leaves
def test_what_data_and_model_agree_on_is_said_by_the_model_alone(load, path):
    """So that it stands in one place of a recipe, and of its command line."""
    said = {"LetterboxImage": {"size"}, "TileImage": {"size"}, "CutViews": {"size"}}
    said |= {"ILVC": {"size", "template", "special_tokens"}}
    said |= {"TokenizeConversation": {"tokenizer", "layout", "special_tokens"}}
    found = [
        f"{place}.{name}"
        for place, node in walk(content(load(path)))
        for name in said.get(getattr(node["type"], "__name__", ""), set()) & node.keys()
    ]
    kept = [place for place in found if not path.stem.endswith("_semantic") or "letterbox" not in place]
    assert not kept, "a classifier of views does not know the size of images"


@pytest.mark.parametrize("size", ["tiny", "2b", "8b", "qwen2_1_5b"])
@pytest.mark.parametrize(
    ("ablation", "setting"), [("no_sefe", "model.sefe.enrich"), ("no_ilvc", "model.generation.ilvc")]
)
def test_an_ablation_is_one_setting(load, size, ablation, setting):
    """Beside the folder it writes to; what the data do then is tested where they take it from the model."""
    whole, leaf = (dict(flat(load(config_path(f"lira_{size}{suffix}")).to_dict())) for suffix in ("", f"_{ablation}"))
    assert {name for name in whole | leaf if whole.get(name) != leaf.get(name)} == {setting, "work_dir"}
    assert (whole[setting], leaf[setting]) == (True, False)


def flat(node, place=""):
    """Values with their dotted places; a recipe's variables are no settings."""
    if isinstance(node, dict):
        for key, value in node.items():
            if place or key in SETTINGS:
                yield from flat(value, f"{place}.{key}" if place else key)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from flat(value, f"{place}.{index}")
    else:
        yield place, node


def test_two_prompts_share_the_samples(load):
    for size in ("2b", "8b", "qwen2_1_5b"):
        half = load(config_path(f"lira_{size}_ilvc_half"))
        train, test = (loader.dataset.pipeline.interleave for loader in (half.train_dataloader, half.test_dataloader))
        assert train.prob == 0.5 and train.suffixes == test.suffixes and len(set(train.suffixes)) == 2


@pytest.mark.parametrize("size", ["2b", "tiny"])
def test_the_own_decoder_is_all_that_differs(load, size):
    whole, own = (content(load(config_path(f"lira_{size}{suffix}"))) for suffix in ("", "_own_decoder"))
    assert whole["model"]["mask_decoder"] | {"decoder": "own"} == own["model"]["mask_decoder"]
    *first, last = own["model"]["init_from"]
    assert last.pop("may_lack") == [*whole["model"]["init_from"][-1].pop("may_lack"), "mask_decoder.decoder"]
    assert [*first, last] == whole["model"]["init_from"]
    for recipe in (whole, own):
        del recipe["model"]["mask_decoder"], recipe["model"]["init_from"], recipe["work_dir"]
    assert str(whole["model"]) == str(own["model"])
    assert whole["optim_wrapper"] == own["optim_wrapper"]


@pytest.mark.parametrize("size", ["2b", "8b"])
def test_a_released_recipe_asks_for_no_earlier_stage(load, size):
    whole, released = (load(config_path(f"lira_{size}{suffix}")) for suffix in ("", "_released"))
    assert whole.model.init_from[:-1] == released.model.init_from
    assert f"{size}_pretrain" in whole.model.init_from[-1].path


@leaves
def test_all_paths_are_below_the_root(load, path):
    cfg = load(path)
    assert cfg.work_dir.startswith(str(load.root))

    def strings(node):
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict | list | tuple):
            for value in node.values() if isinstance(node, dict) else node:
                yield from strings(value)

    assert not [text for text in strings(content(cfg)) if text.startswith("work_dirs")]
    assert not [text for text in strings(content(cfg)) if text.startswith("/") and not text.startswith(str(load.root))]


def test_leaves_write_to_different_folders(load):
    folders = [load(path).work_dir for path in LEAVES]
    assert len(set(folders)) == len(folders)


@pytest.fixture(scope="module")
def dump(load, tmp_path_factory):
    """Write a config as the runner does for its work dir, and read it again."""
    import mmengine.config.config as module

    folder, written = tmp_path_factory.mktemp("dumps"), {}

    def dump(path: Path) -> Config:
        if path not in written:
            with pytest.MonkeyPatch.context() as patch:
                if path.stem != "lira_tiny_semantic":  # laying the text out takes seconds: a short one is enough
                    patch.setattr(module, "FormatCode", lambda text, **style: (text, True))
                load(path).dump(folder / path.name)
            written[path] = Config.fromfile(folder / path.name)
        return written[path]

    return dump


@pytest.mark.slow
@leaves
def test_a_dump_is_the_same_config(load, dump, path):
    assert dump(path).to_dict() == load(path).to_dict()


@leaves
def test_a_dump_names_what_can_be_built(load, dump, path):
    """``xtuner test`` on a work dir reads the dump, in which classes have become dotted paths."""
    from mmengine.utils import get_object_from_string

    dumped = dict(walk(dump(path).to_dict()))
    for place, node in walk(content(load(path))):
        if not isinstance(node["type"], str):
            assert get_object_from_string(dumped[place]["type"]) == node["type"], place


@leaves
def test_all_arguments_exist(load, path):
    cfg = content(load(path))
    assert len(list(walk(cfg))) > 20, "classes are seen"
    assert not misspelt(cfg)


@leaves
def test_strings_name_their_scope(load, path):
    """A bare mmdet name fails under another default scope; only what MMEngine and mmcv register may be bare."""
    from mmdet import registry as mmdet_registry
    from mmengine.registry import Registry

    registries = [
        node for node in vars(mmdet_registry).values() if isinstance(node, Registry) and node.scope == "mmdet"
    ]
    assert len(registries) > 10
    for place, node in walk(content(load(path))):
        name = node["type"]
        if isinstance(name, str) and not name.startswith(SCOPES):
            assert not [other for other in registries if name in other._module_dict], f"{place}: {name} is mmdet's"
            named_in_a_registry(name)


@pytest.mark.parametrize(
    ("place", "typo"),
    [
        ("model", {"frozn": ["pixel_encoder"]}),
        ("model.sefe", {"enrch": False}),
        ("model.mask_decoder", {"num_point": 3}),
        ("train_dataloader.dataset.pipeline.interleave", {"wrong_views": 0.1}),
        ("train_dataloader.dataset.datasets[0]", {"splits": "train"}),
        ("optim_wrapper", {"clip_grads": {}}),
        ("model.pixel_encoder.segmenter.train_cfg.assigner.match_costs[0]", {"weights": 1.0}),
        ("custom_hooks[0]", {"evry": 3}),
    ],
)
def test_a_typo_is_found(load, place, typo):
    """What MMEngine would report only when the part is built, which for some is after hours."""
    cfg = content(load(config_path("lira_tiny")))
    nodes = dict(walk(cfg))
    nodes[f"cfg.{place}"].update(typo)
    found = misspelt(cfg)
    assert len(found) >= 1 and all(next(iter(typo)) in text for text in found)
    assert any(text.startswith(f"cfg.{place}:") for text in found)


def test_without_the_variable_the_root_is_in_the_working_folder(monkeypatch):
    monkeypatch.delenv("LIRA_TINY_ROOT", raising=False)
    assert Config.fromfile(config_path("lira_tiny_segmenter")).work_dir == "work_dirs/tiny/segmenter"


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
@pytest.mark.parametrize("size", ["2b", "8b", "qwen2_1_5b"])
def test_the_recipes_are_the_papers(load, stage, size):
    """Facts, section 4."""
    cfg = load(config_path(f"lira_{size}{'_pretrain' if stage == 'pretrain' else ''}"))
    pretrain = stage == "pretrain"
    assert cfg.optim_wrapper.optimizer.lr == (1e-3 if pretrain else 2e-5)
    assert tuple(cfg.optim_wrapper.optimizer.betas) == (0.9, 0.999) and cfg.optim_wrapper.optimizer.weight_decay == 0
    assert cfg.optim_wrapper.clip_grad.max_norm == 1 and cfg.optim_wrapper.dtype == "bfloat16"
    batch = (cfg.train_dataloader.batch_size, cfg.optim_wrapper.accumulative_counts)
    assert batch == ((8, 4) if pretrain else (1, 16))
    assert cfg.default_hooks.checkpoint.interval == 8000
    warmup, cosine = cfg.param_scheduler
    assert (warmup.start_factor, warmup.share[1], cosine.share[0], cosine.eta_min) == (1e-5, 0.03, 0.03, 0.0)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert pipeline.tokenize.max_length == (4096 if pretrain else 1024)
    assert (pipeline.tile.min_tiles, pipeline.tile.max_tiles) == (1, 6), "one where the model has no SEFE"
    assert cfg.model.sefe.enrich is not pretrain
    assert ("llm" in cfg.model.frozen) is pretrain and {"semantic_encoder", "pixel_encoder"} <= set(cfg.model.frozen)
    if not pretrain:
        rank = {"2b": 128, "8b": 256, "qwen2_1_5b": 128}[size]
        assert (cfg.model.llm.lora.r, cfg.model.llm.lora.lora_alpha) == (rank, 2 * rank)
        data = [
            (entry.get("source") or entry.dataset, entry.get("repeats", 1))
            for entry in cfg.train_dataloader.dataset.datasets
        ]
        assert data == [
            ("vqa", 1),
            ("refcoco", 3),
            ("refcoco+", 3),
            ("refcocog", 3),
            ("gcg/RefCOCOg", 1),
            ("gcg/flickr_mergedGT", 1),
            ("gcg/GranDf_HA", 10),
            ("gcg/OpenPsg", 1),
        ]
        assert {entry.num_expressions for entry in cfg.train_dataloader.dataset.datasets[1:4]} == {3}
        files = [Path(entry.ann_file).name for entry in cfg.train_dataloader.dataset.datasets[4:]]
        assert files == [
            f"{name}_train_highlight_bg.json"
            for name in ("RefCOCOg_GCG", "flickr_mergedGT_GCG", "GranDf_HA_GCG", "OpenPsgGCG")
        ]
        assert cfg.model.llm.lora.lora_dropout == 0.05
        assert cfg.train_dataloader.sampler.length_group == 16
        assert len(cfg.test_dataloader.dataset.datasets) == 8
    assert cfg.model.llm.gradient_checkpointing is True
    assert cfg.model.loss_weights.projection == (10.0 if pretrain else 0.0)


@pytest.mark.parametrize(
    ("name", "folder", "template"),
    [
        ("lira_2b", "InternVL2-2B", "internvl2_chat"),
        ("lira_8b", "InternVL2-8B", "internvl2_chat"),
        ("lira_8b_pretrain", "InternVL2-8B", "internvl2_chat"),
        ("lira_qwen2_1_5b", "Qwen2-VL-2B-Instruct", "qwen_chat"),
        ("lira_qwen2_1_5b_pretrain", "Qwen2-VL-2B-Instruct", "qwen_chat"),
    ],
)
def test_tokenizer_llm_and_semantic_encoder_are_of_one_folder_and_its_template(load, name, folder, template):
    model = load(config_path(name)).model
    assert model.llm.chat_template == template
    paths = {model.tokenizer.path, model.llm.llm.path, model.semantic_encoder.path}
    assert paths == {f"{load.root}/{folder}"}


BASES = {
    "InternVL2_5-1B": 896,
    "InternVL2_5-2B": 2048,
    "InternVL2_5-4B": 2048,
    "InternVL2_5-8B": 4096,
    "InternVL3-1B": 896,
    "InternVL3-2B": 1536,
    "InternVL3-8B": 3584,
    "InternVL3_5-1B": 1024,
    "InternVL3_5-2B": 2048,
    "InternVL3_5-4B": 2560,
    "InternVL3_5-8B": 4096,
    "Qwen2.5-VL-3B-Instruct": 2048,
    "Qwen2.5-VL-7B-Instruct": 3584,
    "Qwen3-VL-2B-Instruct": 2048,
    "Qwen3-VL-4B-Instruct": 2560,
}
"""Folders, and the widths of their LLMs."""


@pytest.mark.parametrize(("folder", "width"), BASES.items())
def test_a_newer_base_is_lira_2b_over_one_folder(load, folder, width):
    size = folder.removesuffix("-Instruct")
    name = f"lira_{size.lower().replace('-', '_').replace('.', '_')}"
    first, second = (load(config_path(f"{name}{stage}")) for stage in ("_pretrain", ""))
    for cfg, other in ((first, "lira_2b_pretrain"), (second, "lira_2b")):
        model, path = cfg.model, f"{load.root}/{folder}"
        assert len((config_path(name)).read_text().splitlines()) <= 15
        parts = [model.tokenizer, model.llm.llm, model.semantic_encoder]
        if folder.startswith("Qwen"):
            assert model.llm.chat_template == ("qwen_chat" if "2.5" in folder else "qwen3_chat")
        else:
            parts.append(model.llm.chat_template)
        assert {part.path for part in parts} == {path} and folder in model.llm.llm.obtain
        assert (model.sefe.hidden_size, model.mask_decoder.hidden_size) == (width, width)
        ours, theirs = (dict(flat(config.to_dict())) for config in (cfg, load(config_path(other))))
        parted = {place for place in ours.keys() | theirs.keys() if ours.get(place) != theirs.get(place)}
        allowed = (
            "model.tokenizer",
            "model.llm",
            "model.semantic_encoder",
            "model.sefe.hidden_size",
            "model.init_from",
        )
        allowed += ("model.mask_decoder.hidden_size", "work_dir")
        assert not [place for place in parted if not place.startswith(allowed)]
    assert (
        second.model.init_from[-1].path == first.work_dir
        and f"{name}_pretrain.py" in second.model.init_from[-1].made_by
    )
    lora, base = second.model.llm.lora, load(config_path("lira_2b")).model.llm.lora
    tied = folder.startswith("Qwen") and "7B" not in folder
    assert lora.target_modules == [part for part in base.target_modules if not (tied and part == "lm_head")]
    assert lora.r == (256 if size.endswith(("7B", "8B")) else 128) and lora.lora_alpha == 2 * lora.r
    assert bool(lora.shared_inputs) is (folder in ("InternVL2_5-2B", "InternVL2_5-8B")), "one matrix in InternLM2 alone"


def test_qwen2_is_adapted_as_it_is_built(load):
    """It has no fused projection, and no head of its own."""
    lora = load(config_path("lira_qwen2_1_5b")).model.llm.lora
    assert not lora.shared_inputs and "lm_head" not in lora.target_modules and lora.train_embeddings
    published = load(config_path("lira_2b")).model.llm.lora
    assert list(published.target_modules) == [*lora.target_modules, "lm_head"], "the other recipe is as it was"


def test_paths_come_from_variables_and_from_the_command_line(monkeypatch):
    monkeypatch.setenv("LIRA_INTERNVL2_8B", "/models/8b")
    monkeypatch.setenv("LIRA_DATA", "/data")
    cfg = Config.fromfile(config_path("lira_8b"))
    assert cfg.model.llm.llm.path == cfg.model.tokenizer.path == "/models/8b"
    assert cfg.train_dataloader.dataset.datasets[0].ann_file == "/data/vqa/stage2.json"
    cfg.merge_from_dict({"model.llm.llm.path": "/other", "train_dataloader.dataset.datasets.0.ann_file": "mine.json"})
    assert cfg.model.llm.llm.path == "/other"
    assert cfg.train_dataloader.dataset.datasets[0].ann_file == "mine.json"
