"""Packages that modules import too early, and what a process that only answers leaves out."""

import sys
from importlib import import_module

import pytest
import torch

from lira_plugin.compat import answers_only, late_packages
from lira_plugin.compat.answers_only import _LeftOutFinder


@pytest.fixture
def early(tmp_path, monkeypatch):
    """Modules ``early_*`` that import the package ``slow_one``, which must wait for them."""
    (tmp_path / "slow_one").mkdir()
    (tmp_path / "slow_one" / "__init__.py").write_text("count = 3\n")
    (tmp_path / "slow_one" / "inner.py").write_text("def double(value, *, plus=0):\n    return 2 * value + plus\n")
    (tmp_path / "early_whole.py").write_text("import slow_one\ndef use():\n    return slow_one.count\n")
    (tmp_path / "early_inner.py").write_text("import slow_one.inner as inner\ndef use():\n    return inner.double(2)\n")
    (tmp_path / "early_name.py").write_text(
        "from slow_one.inner import double\ndef use():\n    return double(1, plus=1)\n"
    )
    (tmp_path / "early_asks.py").write_text(
        "from importlib.util import find_spec\nimport slow_one\nhas = find_spec('slow_one') is not None\n"
        "def use():\n    return has\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    names = {f"early_{name}": ("slow_one", "slow_one.inner") for name in ("whole", "inner", "name", "asks")}
    yield names
    for name in [*names, "slow_one", "slow_one.inner"]:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("name", "used"), [("whole", 3), ("inner", 4), ("name", 3)])
def test_a_package_is_imported_when_something_of_it_is_used(early, name, used):
    late_packages.install(early)
    module = import_module(f"early_{name}")
    assert "slow_one" not in sys.modules and "slow_one.inner" not in sys.modules
    assert module.use() == used and sys.modules["slow_one"].count == 3
    assert module.__file__.endswith(f"early_{name}.py") and module.__spec__.origin == module.__file__


def test_who_asks_whether_it_is_installed_is_told_so(early):
    late_packages.install(early)
    assert import_module("early_asks").use() and "slow_one" not in sys.modules


def test_a_package_that_is_there_already_or_not_installed_is_left_alone(early, tmp_path):
    late_packages.install(early | {"early_none": ("none_such",)})
    import_module("slow_one")
    assert import_module("early_whole").slow_one is sys.modules["slow_one"]
    (tmp_path / "early_none.py").write_text("try:\n    import none_such\nexcept ImportError:\n    none_such = None\n")
    assert import_module("early_none").none_such is None
    sys.modules.pop("early_none")


def test_installing_again_changes_nothing(early):
    late_packages.install(early)
    before = list(sys.meta_path)
    late_packages.install(early)
    assert sys.meta_path == before
    assert any(getattr(finder, "late", None) == late_packages.LATE for finder in before), (
        "done by importing lira_plugin"
    )


def test_what_is_left_out_can_be_named_and_inherited_from_but_not_made():
    module = _LeftOutFinder().find_spec("mmengine.optim.optimizer", None).loader
    module = module.create_module(_LeftOutFinder().find_spec("mmengine.optim.optimizer", None))
    assert module.OptimWrapper is module.OptimWrapper and not isinstance(3, module.OptimWrapper)
    made = type("Own", (module.OptimWrapper,), {})
    with pytest.raises(RuntimeError, match="Own is for trainings: this process was started to answer only"):
        made(1, a=2)
    assert _LeftOutFinder().find_spec("mmengine.optimal", None) is None


def test_a_process_that_has_torch_already_may_train(monkeypatch):
    before, disable = list(sys.meta_path), torch.compiler.disable
    answers_only.install()
    assert sys.meta_path == before and torch.compiler.disable is disable
