"""Packages that a module of a third party imports for what few need: they are imported when something of them is used.

Mends MMEngine 0.10.6, whose ``mmengine.runner`` imports DeepSpeed for a strategy that few trainings take. That costs every
process some seconds, writes lines of DeepSpeed's to the terminal, and lets it look for compilers and libraries. Mends mmdet
3.3.0, whose masks import shapely for cropping polygons. It can go when importing these modules leaves the packages alone.

:func:`install` puts a finder in front of ``sys.meta_path``. While such a module is imported, it finds a stand-in under the
package's name. A name that it takes from there is a function that imports the real one when it is called.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LATE = {
    "mmengine._strategy.deepspeed": ("deepspeed",),
    "mmdet.structures.mask.structures": ("shapely", "shapely.geometry"),
}
"""A module, and what it imports too early: a package, and modules in it."""


def install(late: Mapping[str, tuple[str, ...]] = LATE) -> None:
    """Let packages wait that have not been imported yet, for modules that have not either; see :data:`LATE`."""
    if not any(isinstance(finder, _LateFinder) and finder.late == late for finder in sys.meta_path):
        sys.meta_path.insert(0, _LateFinder(late))


class _LateFinder(MetaPathFinder):
    def __init__(self, late: Mapping[str, tuple[str, ...]]) -> None:
        self.late = late

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        names = self.late.get(fullname, ())
        if not names or names[0] in sys.modules or find_spec(names[0].partition(".")[0]) is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _LateLoader(spec.loader.name, spec.loader.path, names)
        return spec


class _LateLoader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, names: tuple[str, ...]) -> None:
        super().__init__(fullname, path)
        self.names = names

    def exec_module(self, module: ModuleType) -> None:
        with _stand_ins(self.names):
            super().exec_module(module)


@contextmanager
def _stand_ins(names: Sequence[str]) -> Iterator[None]:
    made = {name: _StandIn(name) for name in names}
    for name, stand_in in made.items():
        parent, _, own = name.rpartition(".")
        stand_in.__spec__ = None if parent else find_spec(name)  # transformers asks whether there is one
        if parent in made:
            setattr(made[parent], own, stand_in)
    sys.modules |= made
    try:
        yield
    finally:
        for name, stand_in in made.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is not self:
            return getattr(import_module(self.__name__), name)
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has not been imported yet")
        return _late_function(self.__name__, name)


def _late_function(module: str, name: str) -> Any:
    def late(*arguments: Any, **settings: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **settings)

    return late
