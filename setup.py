"""What pyproject.toml cannot say: the wheel carries configs, tools and the model index.

OpenMMLab's tools look for them under ``lira_plugin/.mim/``. Configs are modules of the package too, ``lira_plugin/configs/``, so
that a recipe elsewhere can say ``from lira_plugin.configs.lira.lira_2b import *``; in a checkout that is a link.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = ("configs", "tools", "model-index.yml")


def carried_files():
    """Yield the files to carry, relative to the project."""
    for name in CARRIED:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(ROOT)


class BuildWithConfigs(build_py):
    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):
            for source, target in self.carried():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / source, target)

    def carried(self):
        """Pairs of a file and its path in the wheel."""
        package = Path(self.build_lib, "lira_plugin")
        files = list(carried_files())
        configs = [(file, package / file) for file in files if file.parts[0] == "configs"]
        return [*((file, package / ".mim" / file) for file in files), *configs]

    def get_source_files(self):
        """Put the files into source distributions too, so that a wheel can be built from one."""
        return [*super().get_source_files(), *(file.as_posix() for file in carried_files())]

    def get_outputs(self, include_bytecode=1):
        """Name the copies, so that installers know them."""
        outputs = super().get_outputs(include_bytecode)
        return (
            outputs if getattr(self, "editable_mode", False) else [*outputs, *(str(copy) for _, copy in self.carried())]
        )


setup(cmdclass={"build_py": BuildWithConfigs})
