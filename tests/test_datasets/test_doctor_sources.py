import json

import cv2
import numpy as np
import pytest

from lira_plugin.datasets import CocoPhraseDataset, DecodeRegions, LoadImage
from lira_plugin.datasets.doctor import Reading, examine


def write(folder, segmentation):
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((20, 20, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 20}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "pen"}],
        "annotations": [
            {"id": 2, "image_id": 1, "category_id": 2, "segmentation": segmentation},
        ],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    pipeline = [LoadImage(), DecodeRegions()]
    return {
        "type": CocoPhraseDataset,
        "ann_file": str(folder / "coco.json"),
        "image_root": str(folder),
        "source": folder.name,
        "pipeline": pipeline,
    }


def test_a_broken_mask_is_told_once_and_a_source_can_be_looked_at_alone(tmp_path):
    far = [[1, 1, 90, 1, 90, 90, 1, 90]]
    loaders = {
        "test_dataloader.dataset": write(tmp_path / "own", far),
        "val_dataloader.dataset": write(tmp_path / "old", far),
    }
    found = examine(loaders, reading=Reading(show_progress=False))
    assert [[finding.record for finding in check.faults] for _, check in found] == [["annotation 2"], ["annotation 2"]]
    ((part, _),) = examine(loaders, reading=Reading(show_progress=False, sources=("own",)))
    assert part.source == "own"
    with pytest.raises(ValueError, match="there is no source 'mine'; there are"):
        examine(loaders, reading=Reading(show_progress=False, sources=("mine",)))
