"""What is beside the package: the model index, the files that a wheel carries, and the workflow of CI."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from setuptools.config.pyprojecttoml import load_file
from support.paths import ROOT
from support.project_runs import copy_project

from lira_plugin.datasets import GroundingDataset
from lira_plugin.version import __version__


def test_the_model_index_leads_to_recipes_that_are_there():
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())
    metafiles = [yaml.safe_load((ROOT / path).read_text()) for path in index["Import"]]
    collections = {collection["Name"]: collection for metafile in metafiles for collection in metafile["Collections"]}
    models = [model for metafile in metafiles for model in metafile["Models"]]
    assert models and all((ROOT / collection["README"]).is_file() for collection in collections.values())
    for model in models:
        assert model["In Collection"] in collections
        assert (ROOT / model["Config"]).is_file() and (ROOT / model["Config"]).stem == model["Name"]


def test_a_wheel_carries_configs_tools_and_the_model_index():
    with patch("setuptools.setup"):
        code = compile((ROOT / "setup.py").read_text(), str(ROOT / "setup.py"), "exec")
        namespace = {"__file__": str(ROOT / "setup.py"), "__name__": "setup"}
        exec(code, namespace)
    carried = {path.as_posix() for path in namespace["carried_files"]()}
    assert {"model-index.yml", "configs/lira/metafile.yml", "configs/lira/lira_2b.py", "tools/infer.py"} <= carried
    assert not any("__pycache__" in path for path in carried)


def test_contributing_names_every_method_that_a_data_set_has_to_write():
    (paragraph,) = re.findall(r"\*\*Add a data set\.\*\*.*?(?=\n\*\*|\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    named = {name.split("(")[0] for name in re.findall(r"`([^`]+)`", paragraph)}
    left_open = {
        name
        for name, value in vars(GroundingDataset).items()
        if callable(function := getattr(value, "fget", value)) and "NotImplementedError" in function.__code__.co_names
    }
    assert {"__init__", "__len__", "get_record"} <= left_open | {"__init__"} <= named


def test_the_workflow_runs_what_developers_run():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_a_wheel_carries_every_file_of_the_package_that_is_no_module():
    declared = load_file(ROOT / "pyproject.toml")["tool"]["setuptools"]["package-data"]  # tomllib is of Python 3.11
    carried = {str(Path(*package.split("."), name)) for package, names in declared.items() for name in names}
    folders = [
        path for path in (ROOT / "lira_plugin").iterdir() if path.is_dir() and path.name not in ("configs", ".mim")
    ]
    files = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    files |= {str(path.relative_to(ROOT)) for path in (ROOT / "lira_plugin").glob("*.typed")}
    assert carried == files and any(path.endswith("coco_synonyms.txt") for path in files)
    assert "lira_plugin/py.typed" in carried, "type checkers of users read the annotations"


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert citation["version"] == __version__
    paper = citation["preferred-citation"]
    metafile = yaml.safe_load((ROOT / "configs" / "lira" / "metafile.yml").read_text())
    assert {"title": paper["title"], "url": paper["url"]} == {
        key.lower(): value for key, value in metafile["Collections"][0]["Paper"].items()
    }


def test_a_wheel_says_what_it_is():
    project = load_file(ROOT / "pyproject.toml")["project"]
    assert project["authors"] and project["keywords"] and project["urls"]["Paper"].startswith("https://arxiv.org/abs/")
    assert "Typing :: Typed" in project["classifiers"] and (ROOT / project["readme"]).is_file()
    assert "mkdocs" in " ".join(project["optional-dependencies"]["docs"])


def test_the_issue_templates_ask_for_what_is_needed():
    templates = {
        path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")
    }
    assert "blank_issues_enabled" in templates.pop("config")
    assert {"bug", "feature", "result"} == templates.keys()
    for template in templates.values():
        assert template["name"] and template["description"]
        ids = [field["id"] for field in template["body"] if field["type"] != "markdown"]
        assert len(set(ids)) == len(ids) >= 3


@pytest.fixture
def installed_package(tmp_path_factory):
    """What the wheel holds, in a folder to put on ``PYTHONPATH``."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["egg_info", "--egg-base", folder, "build", "--build-base", folder / "build"]
    wheel = ["bdist_wheel", "--bdist-dir", folder / "bdist", "--dist-dir", folder]
    subprocess.run([sys.executable, "setup.py", "-q", *build, *wheel], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    shutil.unpack_archive(path, folder / "site", format="zip")
    return folder / "site"


@pytest.mark.slow
def test_an_installed_package_is_a_plugin_and_a_copy_of_a_project_runs_beside_it(installed_package, tmp_path):
    """In a process that knows the wheel and the copy alone, in the folder of the copy."""
    folder = copy_project("example_project", tmp_path)
    code = """
import sys
from pathlib import Path
import lira_plugin
from lira_plugin import command
site, folder = sys.argv[1:]  # a command has arguments of its own
assert lira_plugin.__file__.startswith(site), lira_plugin.__file__
from mmengine.config import Config
from mmengine.hub import get_config
command.main(["recipes", "--inherit", "lira_2b", "own.py"])
own = Config.fromfile("own.py")
assert own.model.type.__name__ == get_config("lira_plugin::lira/lira_2b.py").model.type.__name__ == "LIRA"
assert str(command.tools()["infer"]).startswith(site)
from lira_plugin.prepare.photographs import write_photographs
write_photographs(Path("photographs"))
recipe, options = "configs/example_tiny.py", ["--cfg-options", "model.init_from=[]", "train_cfg.max_iters=3"]
command.main(["train", recipe, *options])
command.main(["test", recipe, "--checkpoint", "tiny/example/iter_3.pth", *options])
import example_project
assert example_project.__file__.startswith(folder), example_project.__file__
command.main(["infer", "--help"])
"""
    environment = os.environ | {"PYTHONPATH": str(installed_package), "LIRA_TINY_ROOT": "tiny"}
    command = [sys.executable, "-c", code, str(installed_package), str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (scores,) = (folder / "tiny" / "example").glob("*/*.json")
    assert 0 <= json.loads(scores.read_text())["refcoco/val/refined/cIoU"] <= 1
    assert "usage: lira infer" in done.stdout
