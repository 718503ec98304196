"""What the README tells a reader to type exists."""

import argparse
import ast
import importlib
import inspect
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction
from support.paths import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


def test_the_two_commands_are_there():
    assert "pip install uv && uv run python tools/quickstart.py" in COMMANDS
    assert "pip install uv && uv run pytest" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_files_and_programs_of_a_command_exist(command):
    words = shlex.split(command.split("&&")[-1])
    files = [word for word in words if word.startswith(("tools/", "configs/", "benchmarks/"))]
    assert all((ROOT / file).is_file() for file in files), files
    if words[:3] == ["uv", "run", "xtuner"]:
        assert words[3] in ("train", "test")
        assert shutil.which("xtuner", path=Path(sys.executable).parent)


@pytest.mark.parametrize(
    "tool", sorted({word for c in COMMANDS for word in shlex.split(c) if word.startswith("tools/")})
)
def test_the_options_that_are_named_are_those_of_the_tool(tool, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [tool, "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    usage = capsys.readouterr().out
    named = {word for c in COMMANDS if tool in c for word in shlex.split(c) if word.startswith("--")}
    if tool == "tools/quickstart.py":
        named |= {"--work-dir", "--seed", "--scenes", "--background", "--no-ilvc", "--no-sefe", "--overwrite"}
    assert all(option in usage for option in named), named


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--cfg-options" in command])
def test_the_settings_that_are_changed_are_those_of_the_config(command):
    words = shlex.split(command)
    config = Config.fromfile(ROOT / next(word for word in words if word.startswith("configs/")))
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    options = parser.parse_args(words[words.index("--cfg-options") :]).cfg_options
    for key in options:
        node = config
        for part in key.split(".")[:-1]:  # an argument may be absent, for its default
            assert part.isdigit() or part in node, f"{key}: there is no {part!r}"
            node = node[int(part) if part.isdigit() else part]
    assert not any("param_scheduler" in key for key in options), "the schedule is as long as the training by itself"


def test_the_quickstart_and_the_single_steps_write_the_same_scenes(monkeypatch):
    """The README has both in one folder, which holds one set of scenes."""
    defaults = []
    for words in (["tools/quickstart.py"], ["tools/make_scenes.py", "folder"]):
        monkeypatch.setattr(sys, "argv", words)
        arguments = runpy.run_path(str(ROOT / words[0]))["parse_args"]()
        defaults.append({name: getattr(arguments, name) for name in ("scenes", "eval_scenes", "background", "seed")})
    assert defaults[0] == defaults[1]


def test_the_python_lines_fit_the_package():
    [block] = blocks("python")
    assert len(block.split("\n\n")[1].splitlines()) + 1 <= 6
    tree = ast.parse(block)
    [imported] = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    inferencer = getattr(importlib.import_module(imported.module), imported.names[0].name)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    constructed, asked = (next(call for call in calls if call.func.id == name) for name in ("LIRAInferencer", "lira"))
    inspect.signature(inferencer).bind(*constructed.args)
    inspect.signature(inferencer.__call__).bind(None, *asked.args)
    from lira_plugin.structures import GroundedSpan

    used = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert used - {"spans"} <= set(GroundedSpan.__dataclass_fields__)


def test_what_a_reader_wants_to_change_has_one_file_to_open():
    table = README.split("## I want to change", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]  # without the head
    assert len(rows) >= 20
    opened = [re.fullmatch(r"\| (.+) \| `([^`]+)` \|", row) for row in rows]
    assert all(opened), [row for row, match in zip(rows, opened) if not match]
    missing = [match[2] for match in opened if not (ROOT / match[2]).is_file()]
    assert not missing, missing
    for column in (1, 2):
        cells = [match[column] for match in opened]
        assert len(set(cells)) == len(cells), "a question or a file stands in two rows"
    for topic in ("mask decoder", "data set", "metric", "semantic encoder", "LLM", "stop rule", "losses", "recipe"):
        assert any(topic in match[1] for match in opened), topic


def test_links_and_paths_of_the_layout_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for row in re.findall(r"^\| `([^`]+)`", README, re.MULTILINE):
        before, names, after = re.fullmatch(r"([^{]*)(?:\{(.*)\})?(.*)", row).groups()
        for name in (names or "").split(","):
            assert (ROOT / f"{before}{name}{after}").exists(), row
