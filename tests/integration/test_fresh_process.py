"""Where nothing of ours or of OpenMMLab has been imported: parts by name, reading a config, mmdet, xtuner, its converter."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from support.half_fresh import HalfFresh
from support.paths import config_path

from lira_plugin.compat.compile_pool import VARIABLE
from lira_plugin.compat.xtuner_convert import NO_HF

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


@pytest.fixture(scope="module")
def processes():
    processes = HalfFresh()
    yield processes
    processes.close()


def run_python(processes: HalfFresh, code: str) -> tuple[str, str]:
    """What code prints on standard output and standard error."""
    exit_code, output, errors = processes.run(code)
    assert exit_code == 0, errors[-3000:]
    return output, errors


def look_up(processes: HalfFresh, code: str, parts: dict) -> tuple[list[str], str]:
    """Run the code and look the parts up, in a fresh process: the modules and names found, and what was printed besides."""
    code += "from mmengine import registry\n"
    for registry, (name, arguments) in parts.items():
        if arguments is None:
            code += f"with registry.{registry}.switch_scope_and_registry(None) as found:\n"
            code += f"    part = found.get('{name}')\n"
        else:
            code += f"part = type(registry.{registry}.build(dict(type='{name}', **{arguments})))\n"
        code += "print('found', part.__module__.split('.')[0], part.__name__)\n"
    output, errors = run_python(processes, code)
    found = [line.removeprefix("found ") for line in output.splitlines() if line.startswith("found ")]
    return found, output + errors


def test_parts_are_found_by_scoped_name_from_the_root_registries(processes):
    parts = {registry: (f"lira_plugin.{name}", arguments) for registry, (name, arguments) in OURS.items()}
    found, output = look_up(processes, "", parts)
    assert found == [f"lira_plugin {name}" for name, _ in OURS.values()]
    assert "prefix is not set" not in output


def test_parts_are_found_by_bare_name_under_our_scope(processes):
    """MMEngine's own too, and without its warning that it has to look elsewhere."""
    found, output = look_up(processes, SCOPE, {registry: (name, None) for registry, name in MMENGINES.items()} | OURS)
    assert found == [f"mmengine {name}" if name != "AdamW" else "torch AdamW" for name in MMENGINES.values()] + [
        f"lira_plugin {name}" for name, _ in OURS.values()
    ]
    assert "Failed to search registry" not in output and "prefix is not set" not in output


def test_a_config_can_be_read_before_anything_is_imported(processes):
    """Looking into a config imports what it names, in the order of its keys: ours has to come before mmdet."""
    run_python(
        processes,
        "from mmengine.config import Config\n"
        f"cfg = Config.fromfile({str(config_path('lira_tiny'))!r})\n"
        "assert dict(cfg.items())['MSDeformAttnPixelDecoder'].__module__.startswith('mmdet')\n",
    )


def test_mmdet_and_xtuner_can_be_imported_and_start_no_process(processes):
    """Importing DeepSpeed, as xtuner does, starts none that waits for something to compile; Linux's /proc tells them."""
    output, _ = run_python(
        processes,
        f"import os\nos.environ.pop({VARIABLE!r})\n"  # which the tests set
        "import lira_plugin, mmdet.models\nprint('mmdet', mmdet.models.Mask2FormerHead.__name__)\n"
        "import xtuner.tools.train\nprint('xtuner', callable(xtuner.tools.train.main))\n"
        "import pathlib, deepspeed\n"
        "children = pathlib.Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children')\n"
        "print('children', children.read_text().split() if children.exists() else [])",
    )
    assert {"mmdet Mask2FormerHead", "xtuner True", "children []"} <= set(
        output.splitlines()
    )  # deepspeed logs there too


def test_xtuners_converter_says_what_to_use(processes, tmp_path):
    """As ``xtuner convert pth_to_hf`` starts it."""
    module = Path(find_spec("xtuner").origin).parent / "tools" / "model_converters" / "pth_to_hf.py"
    arguments = [str(config_path("lira_tiny")), "iter_1.pth", str(tmp_path)]
    exit_code, _, errors = processes.run(
        f"import runpy, sys\nsys.argv[1:] = {arguments}\nrunpy.run_path({str(module)!r}, run_name='__main__')"
    )
    assert exit_code and errors.strip().endswith(NO_HF) and "Traceback" not in errors
