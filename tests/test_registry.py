"""Parts are built by name with nothing imported beforehand: in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "by scoped name from MMEngine's root registry": (
        "from mmengine.registry import METRICS\nmetric = METRICS.build(dict(type='lira_plugin.ReferSegMetric'))\n"
    ),
    "by bare name under the default scope": (
        "from mmengine.registry import METRICS, DefaultScope\n"
        "DefaultScope.get_instance('test', scope_name='lira_plugin')\n"
        "metric = METRICS.build(dict(type='ReferSegMetric'))\n"
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_metric_is_built(case):
    code = CASES[case] + "print(type(metric).__module__, type(metric).__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-2:] == ["lira_plugin.evaluation.refer_seg_metric", "ReferSegMetric"]
    assert "prefix is not set" not in done.stderr


def test_a_metric_is_built_by_class_and_by_an_evaluator():
    from mmengine.evaluator import Evaluator
    from mmengine.registry import METRICS

    from lira_plugin.evaluation import ReferSegMetric

    assert type(METRICS.build({"type": ReferSegMetric})) is ReferSegMetric
    (metric,) = Evaluator([{"type": "lira_plugin.ReferSegMetric", "min_pixels": 50}]).metrics
    assert type(metric) is ReferSegMetric and metric.min_pixels == 50
