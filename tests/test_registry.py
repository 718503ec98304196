"""Building parts through the registries; tests/integration/test_fresh_process.py does so with nothing imported."""


def test_a_metric_is_built_by_class_and_by_an_evaluator():
    from mmengine.evaluator import Evaluator
    from mmengine.registry import METRICS

    from lira_plugin.evaluation import ReferSegMetric

    assert type(METRICS.build({"type": ReferSegMetric})) is ReferSegMetric
    (metric,) = Evaluator([{"type": "lira_plugin.ReferSegMetric", "min_pixels": 50}]).metrics
    assert type(metric) is ReferSegMetric and metric.min_pixels == 50
