"""The command ``lira`` and the recipes by name, in a checkout and from an installed package elsewhere."""

import os
import subprocess
import sys

import pytest
from mmengine.config import Config
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
    with pytest.raises(SystemExit):
        command.main(["recipes", "--inherit", "lira_tiny", str(tmp_path / "own.py")])
    assert "File exists" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["recipes", "--inherit", str(tmp_path / "own.py"), str(tmp_path / "other.py")])
    assert "recipe of this package" in capsys.readouterr().err and not (tmp_path / "other.py").exists()
    command.main(["recipes", "--inherit", str(CONFIGS / "lira_tiny" / "lira_tiny.py"), str(tmp_path / "other.py")])
    assert "from lira_plugin.configs.lira_tiny.lira_tiny import *" in (tmp_path / "other.py").read_text()


def test_training_and_testing_are_xtuners(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(command.importlib, "import_module", lambda name: asked.append(name) or command)
    monkeypatch.setattr(command, "main", command.main)
    main, xtuners = command.main, lambda: asked.append(list(sys.argv))
    monkeypatch.setattr(command, "main", xtuners)
    monkeypatch.setattr(sys, "argv", ["lira"])
    main(["train", "lira_tiny", "--resume", "a.pth"])
    assert asked == ["xtuner.tools.train", ["lira train", str(find_recipe_file("lira_tiny")), "--resume", "a.pth"]]
    with pytest.raises(SystemExit, match=r"lira test: there is no recipe at lira_none.*`lira recipes` lists all"):
        main(["test", "lira_none"])


def test_tools_are_commands(monkeypatch, capsys):
    assert set(command.tools()) == {path.stem.replace("_", "-") for path in (ROOT / "tools").glob("*.py")}
    monkeypatch.setattr(sys, "argv", ["lira"])
    with pytest.raises(SystemExit) as end:
        command.main(["make-scenes", "--help"])
    assert end.value.code == 0 and "usage: lira make-scenes" in capsys.readouterr().out
    command.main([])
    said = capsys.readouterr().out
    assert all(f"lira {name} " in said for name in command.tools())
    with pytest.raises(SystemExit, match="no command 'tarin'"):
        command.main(["tarin"])


@pytest.mark.slow
def test_an_installed_package_is_a_plugin(installed_package, tmp_path):
    """What a wheel holds, in a folder of its own, and used from another one."""
    site, elsewhere = installed_package, tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = """
import sys
from mmengine.config import Config
from mmengine.hub import get_config
import lira_plugin
from lira_plugin import command
assert lira_plugin.__file__.startswith(sys.argv[1]), lira_plugin.__file__
command.main(["recipes", "--inherit", "lira_2b", "own.py"])
own = Config.fromfile("own.py")
assert own.model.type.__name__ == get_config("lira_plugin::lira/lira_2b.py").model.type.__name__ == "LIRA"
assert str(command.tools()["infer"]).startswith(sys.argv[1])
from pathlib import Path
from lira_plugin.prepare.photographs import write_photographs
write_photographs(Path("photographs"))
command.main(["infer", "--help"])
"""
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)], cwd=elsewhere, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage: lira infer" in done.stdout
