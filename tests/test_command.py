"""The command ``lira`` and the recipes by name, in a checkout and from an installed package elsewhere."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from support.command_ends import ends_with_error
from support.paths import CONFIGS, ROOT

from lira_plugin import command
from lira_plugin.recipes import find_recipe_file, read_recipe, recipes


def test_every_recipe_has_a_name_of_its_own():
    expected = {path.stem for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts}
    assert set(recipes()) == expected and len(expected) > 20
    files = [path for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts]
    assert len(files) == len(expected), "two recipes of one name could not be told apart"


def test_a_recipe_is_found_by_name_and_by_path(tmp_path):
    assert find_recipe_file("lira_tiny").samefile(CONFIGS / "lira_tiny" / "lira_tiny.py")
    own = tmp_path / "lira_tiny"
    own.write_text("model = 1")
    assert find_recipe_file(own) == own
    with pytest.raises(FileNotFoundError, match=r"lira_2bb.*near are .*lira_2b\b"):
        find_recipe_file("lira_2bb")


def test_recipes_are_listed_with_what_they_are(capsys):
    command.main(["recipes", "tiny"])
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {name for name in recipes() if "tiny" in name}
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)
    command.main(["recipes", "--path", "lira_2b"])
    assert capsys.readouterr().out.strip().endswith(os.path.join("lira", "lira_2b.py"))


def test_a_recipe_of_ones_own_inherits_in_any_folder(tmp_path, capsys):
    command.main(["recipes", "--inherit", "lira_tiny", str(tmp_path / "own.py")])
    assert f"lira train {tmp_path / 'own.py'}" in capsys.readouterr().out
    own, original = read_recipe(tmp_path / "own.py"), Config.fromfile(CONFIGS / "lira_tiny" / "lira_tiny.py")
    assert own.work_dir == "work_dirs/own"
    assert own.to_dict() | {"work_dir": ""} == original.to_dict() | {"work_dir": ""}
    with ends_with_error(capsys, r"own\.py: File exists"):
        command.main(["recipes", "--inherit", "lira_tiny", str(tmp_path / "own.py")])
    with ends_with_error(capsys, "recipe of this package"):
        command.main(["recipes", "--inherit", str(tmp_path / "own.py"), str(tmp_path / "other.py")])
    assert not (tmp_path / "other.py").exists()
    command.main(["recipes", "--inherit", str(CONFIGS / "lira_tiny" / "lira_tiny.py"), str(tmp_path / "other.py")])
    assert "from lira_plugin.configs.lira_tiny.lira_tiny import *" in (tmp_path / "other.py").read_text()


def test_training_and_testing_are_xtuners(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command.importlib, "import_module", lambda name: asked.append(name) or command)
    monkeypatch.setattr(command, "main", command.main)
    main, xtuners = command.main, lambda: asked.append(list(sys.argv))
    monkeypatch.setattr(command, "main", xtuners)
    monkeypatch.setattr(sys, "argv", ["lira"])
    main(["train", "lira_tiny", "--resume", "a.pth"])
    assert asked == ["xtuner.tools.train", ["lira train", str(find_recipe_file("lira_tiny")), "--resume", "a.pth"]]
    with ends_with_error(capsys, r"^lira test: error: there is no recipe at lira_none.*`lira recipes` lists all"):
        main(["test", "lira_none"])


def test_a_checkpoint_to_test_is_a_file_or_of_a_work_dir(tmp_path, monkeypatch, capsys):
    """xtuner takes every folder for one of DeepSpeed's, and ends with a message about pieces that are missing."""
    asked = []
    monkeypatch.setattr(
        command.importlib, "import_module", lambda name: SimpleNamespace(main=lambda: asked.append(sys.argv))
    )
    with ends_with_error(capsys, rf"^lira test: error: no checkpoint at {tmp_path}"):
        command.main(["test", "lira_tiny", "--checkpoint", str(tmp_path)])
    with ends_with_error(capsys, r"^lira test: error: no checkpoint at none\.pth"):
        command.main(["test", "lira_tiny", "--checkpoint=none.pth"])
    torch.save({}, tmp_path / "iter_2.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_2.pth"))
    command.main(["test", "lira_tiny", "--checkpoint", str(tmp_path), "--work-dir", "out"])
    recipe = str(find_recipe_file("lira_tiny"))
    assert asked == [["lira test", recipe, "--work-dir", "out", "--checkpoint", str(tmp_path / "iter_2.pth")]]


def test_tools_are_commands(monkeypatch, capsys):
    assert set(command.tools()) == {path.stem.replace("_", "-") for path in (ROOT / "tools").glob("*.py")}
    monkeypatch.setattr(sys, "argv", ["lira"])
    with pytest.raises(SystemExit) as end:
        command.main(["make-scenes", "--help"])
    assert end.value.code == 0 and "usage: lira make-scenes" in capsys.readouterr().out
    command.main([])
    said = capsys.readouterr().out
    assert all(f"lira {name} " in said for name in command.tools())
    with ends_with_error(capsys, r"^lira: error: there is no command 'tarin'; is 'train' meant\?"):
        command.main(["tarin"])


def test_nothing_heavy_is_imported_for_help_and_lists():
    """Who looks for a command or a recipe waits less than a second."""
    code = """
import sys
from lira_plugin import command
for arguments in (["--help"], ["recipes"], ["recipes", "--path", "lira_tiny"], ["--completion", "bash"]):
    command.main(arguments)
heavy = {"torch", "numpy", "mmengine", "transformers", "xtuner"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("inf", "infer"), ("infer --mod", "--model"), ("infer --no-il", "--no-ilvc")])
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete(shell, words, capsys, tmp_path):
    """bash itself says what it would complete."""
    command.main(["--completion", shell])
    defined = capsys.readouterr().out.removeprefix("autoload -U +X bashcompinit && bashcompinit\n")
    typed, expected = words
    ask = f"COMP_WORDS=(lira {typed}); COMP_CWORD={len(typed.split())}; _lira; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{defined}\n{ask}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected] and not done.stderr


def test_shells_complete_recipes_and_the_options_of_xtuner(capsys):
    command.main(["--completion", "bash"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("train)"))
    assert {"--resume", "--work-dir", "--debug", *recipes()} <= set(line.split('"')[1].split())
    with ends_with_error(capsys, "no completion for the shell 'fish', but for bash and zsh"):
        command.main(["--completion", "fish"])
