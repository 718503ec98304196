from dataclasses import replace

import pytest
import torch
from support.tiny_model import make_samples, refer_record

from lira_plugin.evaluation import RegionAccuracy


@pytest.fixture
def evaluate(tmp_path):
    (sample,) = make_samples([refer_record(tmp_path, "a", ["cat"], 40, 40)])

    def evaluate(rows):
        metric = RegionAccuracy()
        samples = [
            replace(sample, index=place, mask_labels=torch.tensor(true, dtype=torch.long))
            for place, (true, _) in enumerate(rows)
        ]
        metric.process({"data_samples": samples}, [{"labels": torch.tensor(named)} for _, named in rows])
        return metric.evaluate(len(rows))

    return evaluate


def test_every_region_counts_alike(evaluate):
    assert evaluate([([3, 1, 1, 0], [3, 1, 0, 0]), ([2], [1]), ([], [])]) == {"accuracy": 3 / 5}


def test_a_region_without_an_answer_is_an_error(evaluate):
    with pytest.raises(ValueError, match=r"has 2 regions, got 1 labels"):
        evaluate([([1, 1], [1])])


def test_nothing_to_name_is_an_error(evaluate):
    with pytest.raises(ValueError, match="no record has a region"):
        evaluate([([], [])])
