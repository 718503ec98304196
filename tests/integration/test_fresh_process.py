"""What works in a process that has imported nothing yet: parts by name, looking into a config, mmdet and xtuner."""

import subprocess
import sys

from support.paths import ROOT, config_path

OURS = {
    "METRICS": ("ReferSegMetric", {}),
    "TRANSFORMS": ("TileImage", {"size": 64}),
    "HOOKS": ("SeedEachIterHook", {}),
    "VISUALIZERS": ("GroundingVisualizer", {"name": "test"}),
    "DATASETS": ("ReferSegDataset", None),
    "DATA_SAMPLERS": ("ImageBatchSampler", None),
    "MODELS": ("LIRA", None),
    "MODEL_WRAPPERS": ("DataParallel", None),
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


def run_python(code: str) -> tuple[str, str]:
    """What code prints on standard output and standard error."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, done.stderr


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
    output, errors = run_python(code)
    found = [line.removeprefix("found ") for line in output.splitlines() if line.startswith("found ")]
    return found, output + errors


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


def test_a_config_can_be_read_before_anything_is_imported():
    """Looking into a config imports what it names, in the order of its keys: ours has to come before mmdet."""
    run_python(
        "from mmengine.config import Config\n"
        f"cfg = Config.fromfile({str(config_path('lira_tiny'))!r})\n"
        "assert dict(cfg.items())['MSDeformAttnPixelDecoder'].__module__.startswith('mmdet')\n"
    )


def test_mmdet_and_xtuner_can_be_imported():
    output, _ = run_python(
        "import lira_plugin, mmdet.models\nprint('mmdet', mmdet.models.Mask2FormerHead.__name__)\n"
        "import xtuner.tools.train\nprint('xtuner', callable(xtuner.tools.train.main))"
    )
    assert {"mmdet Mask2FormerHead", "xtuner True"} <= set(output.splitlines())  # deepspeed logs there too
