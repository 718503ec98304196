"""Building parts through the registries; tests/integration/test_fresh_process.py does so with nothing imported."""

import importlib
import re
from operator import attrgetter

import pytest
from mmengine import registry as mmengine_registry
from mmengine.registry import DefaultScope
from support.paths import ROOT

import lira_plugin

PARTS = {"models": "MODELS", "datasets": "TRANSFORMS", "evaluation": "METRICS"}


def test_a_metric_is_built_by_class_and_by_an_evaluator():
    from mmengine.evaluator import Evaluator
    from mmengine.registry import METRICS

    from lira_plugin.evaluation import ReferSegMetric

    assert type(METRICS.build({"type": ReferSegMetric})) is ReferSegMetric
    (metric,) = Evaluator([{"type": "lira_plugin.ReferSegMetric", "min_pixels": 50}]).metrics
    assert type(metric) is ReferSegMetric and metric.min_pixels == 50


@pytest.mark.parametrize("scope", ["mmengine", "mmdet", "xtuner"])
@pytest.mark.parametrize(
    ("registry", "part"), [("MODELS", "SEFE"), ("MODELS", "SemanticAttention"), ("TRANSFORMS", "ILVC")]
)
def test_parts_are_known_by_name_under_any_scope(scope, registry, part):
    with DefaultScope.overwrite_default_scope(scope):
        found = getattr(mmengine_registry, registry).get(f"lira_plugin.{part}")
    assert found is getattr(lira_plugin, part)


def test_xtuner_builds_parts_by_name_and_by_dotted_path():
    """Its BUILDER has no children and knows no scope of ours: it reads a name as where the class is."""
    builder = pytest.importorskip("xtuner.registry").BUILDER
    settings = {"hidden_size": 8, "num_heads": 2}
    by_name = builder.build({"type": "lira_plugin.SemanticAttention", **settings})
    by_path = builder.build({"type": "lira_plugin.models.SemanticAttention", **settings})
    by_class = builder.build({"type": lira_plugin.SemanticAttention, **settings})
    assert type(by_name) is type(by_path) is type(by_class) is lira_plugin.models.SemanticAttention
    assert builder.get("lira_plugin.ReferSegMetric") is lira_plugin.evaluation.ReferSegMetric


@pytest.mark.parametrize("part", PARTS)
def test_every_registered_part_is_found_by_the_name_of_the_package(part):
    """What a registry has under a name, ``lira_plugin.NAME`` is; whoever registers a part also names it in ``__all__``."""
    importlib.import_module(f"lira_plugin.{part}")
    registry = getattr(lira_plugin.registry, PARTS[part])
    classes = {name: made for name, made in registry.module_dict.items() if made.__module__.startswith("lira_plugin")}
    assert classes and all(getattr(lira_plugin, name) is made for name, made in classes.items())


def test_a_part_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lira_plugin' has no attribute 'SEFA'"):
        lira_plugin.SEFA  # noqa: B018


def test_the_parts_that_the_guide_names_are_there():
    """A part that is renamed has to be renamed in docs/parts.md as well."""
    table = (ROOT / "docs" / "parts.md").read_text().partition("| part | name |")[2].partition("\n\n")[0]
    names = [name for line in table.splitlines()[2:] for name in re.findall(r"`([\w.]+)`", line.split("|")[2])]
    assert len(names) > 12 and all(isinstance(attrgetter(name)(lira_plugin), type) for name in names)
