"""Parts are built by name with nothing imported beforehand: in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

SCOPES = {
    "by scoped name from MMEngine's root registries": ("lira_plugin.", ""),
    "by bare name under the default scope": (
        "",
        "from mmengine.registry import DefaultScope\nDefaultScope.get_instance('test', scope_name='lira_plugin')\n",
    ),
}
PARTS = {
    "METRICS": ("ReferSegMetric", {}),
    "TRANSFORMS": ("TileImage", {"size": 64}),
    "HOOKS": ("SeedEachIterHook", {}),
    "VISUALIZERS": ("GroundingVisualizer", {"name": "test"}),
    "DATASETS": ("ReferSegDataset", None),
    "DATA_SAMPLERS": ("ImageBatchSampler", None),
    "MODELS": ("LIRA", None),
    "TASK_UTILS": ("AnchorCost", {"weight": 1.0}),
    "LOOPS": ("ResumableTrainLoop", None),
}
"""Registry: name and arguments to build it with, or None where it needs more than fits here and is looked up only."""


@pytest.mark.parametrize("scope", SCOPES)
def test_parts_are_found(scope):
    prefix, code = SCOPES[scope]
    code += "from mmengine import registry\n"
    for registry, (name, arguments) in PARTS.items():
        if arguments is None:
            code += f"with registry.{registry}.switch_scope_and_registry(None) as found:\n"
            code += f"    part = found.get('{prefix}{name}')\n"
        else:
            code += f"part = type(registry.{registry}.build(dict(type='{prefix}{name}', **{arguments})))\n"
        code += "print(part.__module__.split('.')[0], part.__name__)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [f"lira_plugin {name}" for name, _ in PARTS.values()]
    assert [line for line in done.stdout.splitlines() if line.startswith("lira_plugin ")] == expected
    assert "prefix is not set" not in done.stderr


def test_parts_of_mmengine_are_found_under_our_scope_without_a_warning():
    """A run builds its optimizer, schedule, log and pictures under ``default_scope='lira_plugin'``."""
    code = "from mmengine import registry\nfrom mmengine.registry import DefaultScope\n"
    code += "DefaultScope.get_instance('test', scope_name='lira_plugin')\n"
    parts = {
        "EVALUATOR": "Evaluator",
        "LOG_PROCESSORS": "LogProcessor",
        "OPTIMIZERS": "AdamW",
        "OPTIM_WRAPPERS": "OptimWrapper",
        "OPTIM_WRAPPER_CONSTRUCTORS": "DefaultOptimWrapperConstructor",
        "PARAM_SCHEDULERS": "CosineAnnealingLR",
        "RUNNERS": "Runner",
        "STRATEGIES": "SingleDeviceStrategy",
        "VISBACKENDS": "LocalVisBackend",
    }
    for registry, name in parts.items():
        code += f"with registry.{registry}.switch_scope_and_registry(None) as found:\n"
        code += f"    print('found', found.scope, found.get('{name}').__name__)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [line for line in done.stdout.splitlines() if line.startswith("found")]
    assert found == [f"found lira_plugin {name}" for name in parts.values()]
    assert "Failed to search registry" not in done.stdout + done.stderr


def test_a_metric_is_built_by_class_and_by_an_evaluator():
    from mmengine.evaluator import Evaluator
    from mmengine.registry import METRICS

    from lira_plugin.evaluation import ReferSegMetric

    assert type(METRICS.build({"type": ReferSegMetric})) is ReferSegMetric
    (metric,) = Evaluator([{"type": "lira_plugin.ReferSegMetric", "min_pixels": 50}]).metrics
    assert type(metric) is ReferSegMetric and metric.min_pixels == 50
