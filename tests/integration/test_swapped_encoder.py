"""A recipe in which one setting of the model changes: the data follow by themselves, or say where they do not."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from support.paths import config_path
from support.process_state import process_state_restored

from lira_plugin.inference import LIRAInferencer
from lira_plugin.models import InternViTEncoder
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from lira_plugin.structures import TokenKind


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("swap")
    write_scene_tokenizer(write_scenes(root / "data", 8, 2, progress=False))
    return root


@pytest.fixture
def recipe(root, tmp_path, monkeypatch):
    """The tiny finetune recipe without earlier stages, for one iteration."""
    monkeypatch.setenv("LIRA_TINY_ROOT", str(root))
    config = Config.fromfile(config_path("lira_tiny"))
    config.model.init_from = []
    config.model.generation.update(max_new_tokens=6)
    config.custom_hooks = config.custom_hooks[:-1]  # without pictures
    config.train_cfg.max_iters = 1
    config.train_dataloader.batch_size = 2
    config.update(work_dir=str(tmp_path / "run"), experiment_name=tmp_path.name)
    torch.manual_seed(0)
    with process_state_restored():
        yield config


def trained(config):
    """Train a step; the first batch with the trained model."""
    batches = []
    runner = Runner.from_cfg(config)
    runner.model.register_forward_pre_hook(
        lambda module, args, kwargs: batches.append(kwargs["batch"]), with_kwargs=True
    )
    model = runner.train()
    return model, batches[0]


def test_another_semantic_encoder_by_its_config_alone(recipe, root):
    """SigLIP has no prefix tokens, other tiles, other tokens a tile, and another normalisation."""
    recipe.model.semantic_encoder = {
        "type": InternViTEncoder,
        "vit": "vit_base_patch16_siglip_224",
        "vit_args": {"img_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2},
        "hidden_size": recipe.model.sefe.hidden_size,
    }
    model, batch = trained(recipe)
    assert model.semantic_encoder.mean.unique().tolist() == [0.5]
    assert batch.tiles.shape[-1] == batch.view_tiles.shape[-1] == 48
    assert (batch.kinds == TokenKind.VIEW).sum() == 9 * len(batch.view_tiles) > 0
    assert (batch.kinds == TokenKind.SEMANTIC).sum() == 9 * len(batch.tiles)

    lira = LIRAInferencer(recipe, recipe.work_dir, device="cpu", show_progress=False)
    image = next(iter(sorted((root / "data" / "images").glob("*.jpg"))))
    [answer] = lira(image, "Please segment red circle.", force=True)
    [span] = answer.spans
    assert span.refined and span.phrase == "red circle", "a view was encoded too"


@pytest.mark.parametrize("setting", ["model.sefe.enrich", "model.generation.ilvc"])
def test_an_ablation_is_one_setting_of_the_command_line(recipe, setting):
    recipe.merge_from_dict({setting: False})
    _, batch = trained(recipe)
    without_sefe = setting == "model.sefe.enrich"
    assert (batch.kinds == TokenKind.SEMANTIC).any() == (not without_sefe)
    assert bool(len(batch.view_tiles)) == without_sefe
    assert len(batch.tiles) == len(batch.pixel_images) or not without_sefe


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("train_dataloader.dataset.pipeline.tile.size", 32, r"tile\.size=32, but model\.semantic_encoder makes .*=64"),
        ("train_dataloader.dataset.pipeline.letterbox.size", 64, r"letterbox\.size=64, but model\.pixel_encoder.*=96"),
        ("train_dataloader.dataset.pipeline.interleave.prob", 0, r"interleave\.prob=0, but model\.generation\.ilvc"),
    ],
)
def test_a_half_made_change_ends_the_training_before_the_first_batch(recipe, option, value, message):
    recipe.merge_from_dict({option: value})
    with pytest.raises(ValueError, match=rf"train_dataloader\.dataset\.pipeline\.{message}"):
        trained(recipe)


def test_an_inferencer_refuses_it_too(recipe):
    recipe.merge_from_dict({"test_dataloader.dataset.pipeline.tile.size": 32})
    with pytest.raises(
        ValueError, match=r"test_dataloader\.dataset\.pipeline\.tile\.size=32, but model\.semantic_encoder"
    ):
        LIRAInferencer(recipe, device="cpu", show_progress=False)
