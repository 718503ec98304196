"""``tools/convert_checkpoint.py``."""

import importlib.util
from pathlib import Path

import pytest
from internvl_twin import write_internvl
from qwen2_vl_twin import write_qwen2_vl

TOOL = Path(__file__).parents[2] / "tools" / "convert_checkpoint.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_checkpoint", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("command", "write"), [("internvl", write_internvl), ("qwen2-vl", write_qwen2_vl)])
def test_a_published_folder(tool, tmp_path, capsys, command, write):
    write(tmp_path / "in")
    tool.main([command, str(tmp_path / "in"), str(tmp_path / "out"), "--dtype", "bfloat16", "--shard-gb", "0.00003"])
    assert f"{tmp_path}/out/llm" in capsys.readouterr().out
    assert (tmp_path / "out" / "llm" / "tokenizer.json").is_file()
    assert len(list((tmp_path / "out" / "llm").glob("model-*.safetensors"))) > 1
    assert (tmp_path / "out" / "semantic_encoder" / "model.safetensors").is_file()


def test_an_error_is_one_line_without_a_traceback(tool, tmp_path):
    with pytest.raises(SystemExit) as caught:
        tool.main(["internvl", str(tmp_path), str(tmp_path / "out")])
    assert caught.value.code == f"error: {tmp_path} has no config.json: a Hugging Face model folder is expected"
    assert not (tmp_path / "out").exists()


def test_a_command_is_needed(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main([])
    assert "COMMAND" in capsys.readouterr().err
