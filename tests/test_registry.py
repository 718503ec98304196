"""Parts are built by name with nothing imported beforehand: in a fresh process."""

import subprocess
import sys
from pathlib import Path

OURS = {
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
MMENGINES = {
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
"""What a run builds besides under our scope."""
SCOPE = "from mmengine.registry import DefaultScope\nDefaultScope.get_instance('test', scope_name='lira_plugin')\n"


def look_up(code: str, parts: dict) -> tuple[list[str], str]:
    """Run the code and look the parts up, in a fresh process: the modules and names found, and what was printed besides."""
    code += "from mmengine import registry\n"
    for registry, (name, arguments) in parts.items():
        if arguments is None:
            code += f"with registry.{registry}.switch_scope_and_registry(None) as found:\n"
            code += f"    part = found.get('{name}')\n"
        else:
            code += f"part = type(registry.{registry}.build(dict(type='{name}', **{arguments})))\n"
        code += "print('found', part.__module__.split('.')[0], part.__name__)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    found = [line.removeprefix("found ") for line in lines if line.startswith("found ")]
    return found, done.stdout + done.stderr


def test_parts_are_found_by_scoped_name_from_the_root_registries():
    parts = {registry: (f"lira_plugin.{name}", arguments) for registry, (name, arguments) in OURS.items()}
    found, output = look_up("", parts)
    assert found == [f"lira_plugin {name}" for name, _ in OURS.values()]
    assert "prefix is not set" not in output


def test_parts_are_found_by_bare_name_under_our_scope():
    """MMEngine's own too, and without its warning that it has to look elsewhere."""
    found, output = look_up(SCOPE, {registry: (name, None) for registry, name in MMENGINES.items()} | OURS)
    assert found == [f"mmengine {name}" if name != "AdamW" else "torch AdamW" for name in MMENGINES.values()] + [
        f"lira_plugin {name}" for name, _ in OURS.values()
    ]
    assert "Failed to search registry" not in output and "prefix is not set" not in output


def test_a_metric_is_built_by_class_and_by_an_evaluator():
    from mmengine.evaluator import Evaluator
    from mmengine.registry import METRICS

    from lira_plugin.evaluation import ReferSegMetric

    assert type(METRICS.build({"type": ReferSegMetric})) is ReferSegMetric
    (metric,) = Evaluator([{"type": "lira_plugin.ReferSegMetric", "min_pixels": 50}]).metrics
    assert type(metric) is ReferSegMetric and metric.min_pixels == 50
