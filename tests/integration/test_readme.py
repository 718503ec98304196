"""What the README and the guides tell a reader to type exists."""

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
from support.guide_texts import GUIDES, code_blocks, name_of
from support.paths import RECIPES, ROOT, config_path

README = (ROOT / "README.md").read_text()
CODE_MAP = (ROOT / "docs" / "code_map.md").read_text()


def blocks(language: str) -> list[str]:
    return [block.code for block in code_blocks(README) if block.language == language]


def commands(text: str) -> list[str]:
    """The lines of a page's shell blocks, continued ones joined."""
    shell = "\n".join(block.code for block in code_blocks(text) if block.language == "bash")
    return [line for line in shell.replace("\\\n", " ").splitlines() if line.strip()]


COMMANDS = [(name_of(guide), line) for guide in GUIDES for line in commands(guide.read_text())]
TOOLS = {path.stem.replace("_", "-"): f"tools/{path.name}" for path in sorted((ROOT / "tools").glob("*.py"))}


def words_of(command: str) -> list[str]:
    return shlex.split(command.split("&&")[-1], comments=True)


def tool_of(command: str) -> tuple[str, list[str]] | None:
    """(tool, its arguments) of ``python tools/NAME.py ...`` or ``lira NAME ...``."""
    words = words_of(command)
    for index, word in enumerate(words):
        if word in TOOLS.values():
            return word, words[index + 1 :]
        if word == "lira" and words[index + 1] in TOOLS:
            return TOOLS[words[index + 1]], words[index + 2 :]
    return None


def test_the_two_commands_are_there():
    lines = [command for page, command in COMMANDS if page == "README.md"]
    assert "pip install uv && uv run python tools/quickstart.py" in lines
    assert "pip install uv && uv run pytest" in lines


def test_the_files_programs_and_recipes_of_a_command_exist():
    names = {path.stem for path in RECIPES}
    for page, command in COMMANDS:
        words = words_of(command)
        files = [word for word in words if word.startswith(("tools/", "configs/", "benchmarks/"))]
        assert all((ROOT / file).is_file() for file in files), f"{page}: {files}"
        if words[:3] == ["uv", "run", "xtuner"]:
            assert words[3] in ("train", "test"), f"{page}: {command}"
            assert shutil.which("xtuner", path=Path(sys.executable).parent)
        if words[:3] == ["uv", "run", "lira"]:
            verb, *rest = words[words.index("lira") + 1 :]
            assert verb in {"train", "test", "recipes", *TOOLS}, f"{page}: lira has no command {verb!r}"
            if verb in ("train", "test") and not rest[0].endswith(".py"):
                assert rest[0] in names, f"{page}: there is no recipe {rest[0]!r}"


@pytest.mark.parametrize("tool", sorted({found[0] for _, command in COMMANDS if (found := tool_of(command))}))
def test_the_options_that_are_named_are_those_of_the_tool(tool, monkeypatch, capsys):
    usages: dict[str, str] = {}

    def usage(*commands: str) -> str:
        if " ".join(commands) not in usages:
            monkeypatch.setattr(sys, "argv", [tool, *commands, "--help"])
            with pytest.raises(SystemExit):
                runpy.run_path(str(ROOT / tool), run_name="__main__")
            usages[" ".join(commands)] = capsys.readouterr().out
        return usages[" ".join(commands)]

    for page, command in COMMANDS:
        found = tool_of(command)
        if found and found[0] == tool:
            arguments = found[1]
            inner = arguments[:1] if "add_subparsers" in (ROOT / tool).read_text() else []
            named = {word for word in arguments if word.startswith("--")}
            assert all(option in usage(*inner) for option in named), f"{page}: {named}"
    if tool == "tools/quickstart.py":
        stated = {"--work-dir", "--seed", "--scenes", "--background", "--no-ilvc", "--no-sefe", "--overwrite"}
        assert all(option in usage() for option in stated)


WITH_SETTINGS = [
    (page, command)
    for page, command in COMMANDS
    if "--cfg-options" in command and page in ("docs/first_training.md", "docs/own_data.md")
]


@pytest.mark.parametrize(("page", "command"), WITH_SETTINGS)
def test_the_settings_that_are_changed_are_those_of_the_config(page, command):
    words = words_of(command)
    recipe = next(word for word in words if word.startswith(("configs/", "lira_")))
    config = Config.fromfile(ROOT / recipe if recipe.endswith(".py") else config_path(recipe))
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
    """The guide of the first training has both in one folder, which holds one set of scenes."""
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
    table = CODE_MAP.split("## I want to change", 1)[1].split("\n## ", 1)[0]
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


def test_the_paths_of_the_layout_exist():
    paths = re.findall(r"^\| `([^`]+)`", CODE_MAP, re.MULTILINE)
    assert len(paths) >= 20
    for path in paths:
        before, names, after = re.fullmatch(r"([^{]*)(?:\{(.*)\})?(.*)", path).groups()
        for name in (names or "").split(","):
            assert (ROOT / f"{before}{name}{after}").exists(), path
