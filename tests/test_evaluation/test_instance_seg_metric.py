"""Average precision against the formula, and the form of what the metric is given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.tiny_model import make_samples, refer_record

from lira_plugin.evaluation import InstanceSegMetric

SIDE = 24


def square(row, column, side=6):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row : row + side, column : column + side] = True
    return mask


def instances(masks, labels, scores):
    masks = torch.tensor(np.array(masks).reshape(-1, SIDE, SIDE), dtype=torch.bool)
    return {"masks": masks, "labels": torch.tensor(labels, dtype=torch.long), "scores": torch.tensor(scores)}


@pytest.fixture
def evaluate(tmp_path):
    (sample,) = make_samples([refer_record(tmp_path, "a", ["cat"], 40, 40)])

    def evaluate(images):
        metric = InstanceSegMetric()
        samples = [
            replace(
                sample,
                index=place,
                masks=torch.tensor(np.array(masks).reshape(-1, SIDE, SIDE)),
                mask_labels=torch.tensor(labels),
            )
            for place, ((masks, labels), _) in enumerate(images)
        ]
        metric.process({"data_samples": samples}, [found for _, found in images])
        return metric.evaluate(len(images))

    return evaluate


def test_what_is_right_and_surest_counts_in_full(evaluate):
    truth = [square(0, 0), square(10, 10), square(2, 14)], [0, 1, 1]
    assert evaluate([(truth, instances(*truth, [0.3, 0.9, 0.5]))]) == {"mAP": 1.0, "AP50": 1.0, "AP75": 1.0}


def test_truth_that_was_left_out_of_the_samples_is_an_error(tmp_path):
    (sample,) = make_samples([refer_record(tmp_path, "a", ["cat"], 40, 40)], for_generation=True)
    assert sample.regions and not len(sample.masks)
    with pytest.raises(ValueError, match="for_generation=True"):
        InstanceSegMetric().score(sample, instances([], [], []))


def test_precision_is_averaged_over_recalls(evaluate):
    """Right, wrong, right, over two images: precision 1 up to recall 1/2, then 2/3, at 101 recalls."""
    first = ([square(0, 0)], [0]), instances([square(0, 0), square(12, 12)], [0, 0], [0.9, 0.8])
    second = ([square(5, 5)], [0]), instances([square(5, 5)], [0], [0.7])
    assert evaluate([first, second]) == pytest.approx(dict.fromkeys(("mAP", "AP50", "AP75"), (51 + 50 * 2 / 3) / 101))


def test_overlap_decides_at_each_threshold(evaluate):
    """4 of 6 columns: an IoU of 2/3, above the thresholds 0.5, 0.55, 0.6 and 0.65 of ten."""
    found = square(0, 0)
    found[:, 4:] = False
    assert evaluate([(([square(0, 0)], [0]), instances([found], [0], [0.9]))]) == pytest.approx(
        {"mAP": 0.4, "AP50": 1.0, "AP75": 0.0}
    )


def test_nothing_found_and_a_wrong_class_count_nothing(evaluate):
    truth = [square(0, 0)], [0]
    for found in (instances([], [], []), instances([square(0, 0)], [1], [0.9])):
        assert evaluate([(truth, found)])["mAP"] == 0
