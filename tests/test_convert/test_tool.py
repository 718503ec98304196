"""``tools/convert_checkpoint.py``."""

import importlib.util
from pathlib import Path

import pytest
import torch
from support.internvl_twin import write_internvl
from support.paths import ROOT
from support.process_state import process_state_restored
from support.qwen2_vl_twin import write_qwen2_vl
from support.tiny_model import tiny_llama, tiny_tokenizer
from support.tiny_recipes import write_work_dir
from transformers import AutoTokenizer

from lira_plugin.checkpoint.files import load_into
from lira_plugin.inference import find_recipe
from lira_plugin.registry import MODELS

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools" / "convert_checkpoint.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_checkpoint", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("command", "write"), [("published", write_internvl), ("qwen2-vl", write_qwen2_vl)])
def test_a_published_folder(tool, tmp_path, capsys, command, write):
    write(tmp_path / "in")
    tool.main([command, str(tmp_path / "in"), str(tmp_path / "out"), "--dtype", "bfloat16", "--shard-gb", "0.00003"])
    assert f"{tmp_path}/out/llm" in capsys.readouterr().out
    assert (tmp_path / "out" / "llm" / "tokenizer.json").is_file()
    assert len(list((tmp_path / "out" / "llm").glob("model-*.safetensors"))) > 1
    assert (tmp_path / "out" / "semantic_encoder" / "model.safetensors").is_file()


def test_a_mask2former_of_another_backbone_is_an_error_that_says_so(tool, tmp_path, monkeypatch):
    """The choice reaches the recipe: a ResNet's blocks are unknown to a Swin, and the other way round."""
    monkeypatch.chdir(ROOT)
    torch.save({"state_dict": {"panoptic_head.query_feat.weight": torch.ones(100, 256)}}, tmp_path / "cut.pth")
    for backbone, missing in (("swin_b", "backbone.norm0"), ("r50", "backbone.bn1")):
        with pytest.raises(ValueError, match="choose the backbone") as caught:
            tool.main(["mmdet", str(tmp_path / "cut.pth"), str(tmp_path / "out"), "--backbone", backbone])
        assert f"missing: {missing}" in str(caught.value)


def test_a_folder_of_another_kind_is_an_error(tool, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=f"{tmp_path} has no config.json: a Hugging Face model folder is expected"
    ):
        tool.main(["internvl", str(tmp_path), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_command_is_needed(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main([])
    assert "COMMAND" in capsys.readouterr().err


def test_merge_lora_takes_the_recipe_of_the_work_dir(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    work_dir, out, llm = write_work_dir(tmp_path, 2, 1, "lira_tiny_lora"), tmp_path / "merged.pth", tmp_path / "llm"
    with process_state_restored():
        tool.main(["merge-lora", str(work_dir), str(out), "--llm", str(llm), "--dtype", "bfloat16"])
        assert f"wrote {out} and {llm}" in capsys.readouterr().out
        recipe, _ = find_recipe(work_dir, None)
        del recipe.model.llm["lora"]
        model = MODELS.build(recipe.model)
    load_into(model, out)
    assert AutoTokenizer.from_pretrained(llm).convert_tokens_to_ids("<seg>") == model.ids.seg


def test_grow_vocabulary_of_a_folder_prints_what_it_did(tool, tmp_path, capsys):
    tokenizer = tiny_tokenizer()
    tiny_llama(len(tokenizer)).save_pretrained(tmp_path / "in")
    tokenizer.save_pretrained(tmp_path / "in")
    tool.main(["grow-vocabulary", str(tmp_path / "in"), str(tmp_path / "out"), "--tokens", "<seg>", "<|im_end|>"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"added <seg> as {len(tokenizer)}"
    assert printed[1].startswith("left <|im_end|> as ") and printed[-1] == f"wrote {tmp_path / 'out'}"


def test_grow_vocabulary_of_a_checkpoint_writes_its_tokenizer(tool, tmp_path, capsys):
    (tmp_path / "recipe.py").write_text("model = dict(tokenizer=dict(type='support.tiny_model.tiny_tokenizer'))")
    torch.save({"llm.model.model.embed_tokens.weight": torch.randn(300, 4)}, tmp_path / "iter_2.pth")
    arguments = [str(tmp_path / "iter_2.pth"), str(tmp_path / "out.pth"), "--tokens", "<new>"]
    tool.main(["grow-vocabulary", *arguments, "--tokenizer", str(tmp_path / "tokenizer")])
    assert "300 rows before, 300 now" in capsys.readouterr().out
    assert "<new>" in AutoTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["merge-lora", "work_dir", "out.pth", "--dtype", "bfloat16"], "--llm"),
        (["grow-vocabulary", "folder", "out", "--tokens", "<seg>", "--config", "recipe.py"], "--tokenizer"),
    ],
)
def test_an_option_that_would_do_nothing_is_an_error(tool, command, message):
    with pytest.raises(ValueError, match=message):
        tool.main(command)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["consolidate-zero"], "needs no consolidation"),
        (["export-lira", "--stack"], "a checkpoint of the LoRA fine-tune, with SEFE, is expected"),
    ],
)
def test_a_file_of_another_kind_is_an_error(tool, tmp_path, command, message):
    write_internvl(tmp_path / "internvl")
    path = tmp_path / "iter_2.pth"
    torch.save({"x": torch.ones(1)}, path)
    folder = [str(tmp_path / "internvl")] if command[0] == "export-lira" else []
    with pytest.raises(ValueError, match=message):
        tool.main([*command, str(path), *folder, str(tmp_path / "out.pth")])
