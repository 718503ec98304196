"""Our metrics on plain targets and predictions and on mmdet's samples; mmdet's metrics and visualizer on ours."""

import lira_plugin  # noqa: F401, I001  (first, for mmdet without compiled mmcv)

import json

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs, Resize
from mmdet.evaluation import CocoMetric, RefSegMetric
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from support.process_state import process_state_restored

from lira_plugin.datasets import DecodeRegions, LoadImage, ReferSegDataset, ToDetInputs
from lira_plugin.evaluation import CocoInstanceMetric, InstanceSegMetric, ReferSegMetric
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.structures import (
    GroundedText,
    MaskPrediction,
    MaskTarget,
    encode_mask,
    from_det_data_sample,
    to_det_data_sample,
)

RNG = np.random.default_rng(1)
SIZE = (12, 16)
TRUE = RNG.random((5, *SIZE)) > 0.6
FOUND = TRUE ^ (RNG.random((5, *SIZE)) > 0.8)


def ciou(found, true):
    return (found & true).sum() / (found | true).sum()


class Canned(BaseModel):
    """Answers with what is given for each index; no part of ours."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return [self.answers[int(index)] for index in inputs]


def run(tmp_path, targets, answers, *evaluator):
    """A test by MMEngine's Runner, with its own collate and loops."""
    with process_state_restored():
        runner = Runner(
            Canned(answers),
            str(tmp_path),
            test_dataloader={
                "batch_size": 2,
                "num_workers": 0,
                "dataset": [{"inputs": index, "data_samples": target} for index, target in enumerate(targets)],
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "collate_fn": {"type": "pseudo_collate"},
            },
            test_cfg={},
            test_evaluator=list(evaluator),
        )
        return runner.test()


def test_a_plain_runner_takes_masks_and_nothing_else(tmp_path):
    figures = run(
        tmp_path,
        [MaskTarget(mask) for mask in TRUE],
        [MaskPrediction(torch.from_numpy(mask)) for mask in FOUND],
        {"type": "lira_plugin.ReferSegMetric"},
    )
    assert figures["masks/refined/cIoU"] == pytest.approx(ciou(FOUND, TRUE))
    assert figures["masks/refined/gIoU"] == pytest.approx(np.mean([ciou(*pair) for pair in zip(FOUND, TRUE)]))
    assert figures["masks/missing_seg"] == 0


def test_targets_group_by_source_and_may_be_nothing():
    metric = ReferSegMetric()
    none = np.zeros((0, *SIZE), bool)
    targets = [MaskTarget(none, source="a"), MaskTarget(none, source="a"), MaskTarget(TRUE[0], source="b")]
    metric.process({"data_samples": targets}, [MaskPrediction(none), MaskPrediction(FOUND[1]), MaskPrediction(none)])
    figures = metric.evaluate(3)
    assert figures["a/refined/N-acc"] == 0.5 and figures["b/refined/P@0.5"] == 0.0
    assert figures["b/missing_seg"] == 1.0


def test_targets_with_an_index_come_in_the_order_of_the_data_set(monkeypatch):
    metric = ReferSegMetric()
    for index in (1, 0, 1):
        target = MaskTarget(TRUE[index], index=index, record_id=str(index))
        metric.process({"data_samples": [target]}, [MaskPrediction(FOUND[index])])
    assert metric.evaluate(2)["masks/refined/cIoU"] == pytest.approx(ciou(FOUND[:2], TRUE[:2]))
    monkeypatch.setattr("lira_plugin.evaluation.record_metric.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"masks record x does not know its index.*MaskTarget\.index"):
        metric.process({"data_samples": [MaskTarget(TRUE[0], record_id="x")]}, [MaskPrediction(FOUND[0])])


def test_a_segmenter_of_another_kind_has_average_precision():
    metric = InstanceSegMetric()
    metric.process(
        {"data_samples": [MaskTarget(TRUE[:2], labels=(0, 1)), MaskTarget(np.zeros((0, *SIZE), bool))]},
        [MaskPrediction(TRUE[:2], labels=(0, 1), scores=(0.9, 0.8)), MaskPrediction(np.zeros((0, *SIZE), bool))],
    )
    assert metric.evaluate(2)["mAP"] == pytest.approx(1.0)


def detected(true, found, scores=None, **metainfo):
    """What a detector of mmdet gives for one image."""
    sample = DetDataSample(metainfo={"img_id": 7, "ori_shape": SIZE, "img_shape": (24, 32), **metainfo})
    masks = BitmapMasks(np.asarray(true, np.uint8), *SIZE)
    sample.gt_instances = InstanceData(masks=masks, labels=torch.zeros(len(true), dtype=torch.long))
    scores = torch.ones(len(found)) if scores is None else torch.tensor(scores)
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(found), labels=torch.zeros(len(found), dtype=torch.long), scores=scores
    )
    return sample


def test_a_plain_runner_takes_samples_of_mmdet(tmp_path):
    """Two metrics beside each other, ours and mmdet's, say the same."""
    samples = [
        detected(TRUE[i : i + 1], FOUND[i : i + 1], gt_masks=BitmapMasks(TRUE[i : i + 1].astype(np.uint8), *SIZE))
        for i in range(5)
    ]
    figures = run(tmp_path, samples, samples, {"type": "lira_plugin.ReferSegMetric"}, {"type": "mmdet.RefSegMetric"})
    assert figures["masks/refined/cIoU"] * 100 == pytest.approx(float(figures["cIoU"]))
    assert figures["masks/refined/cIoU"] == pytest.approx(ciou(FOUND, TRUE))
    assert RefSegMetric.default_prefix is None


def test_of_several_masks_found_the_best_counts():
    sample = detected(TRUE[:1], FOUND[:3], scores=[0.1, 0.7, 0.3])
    metric = ReferSegMetric()
    metric.process(None, [sample])  # as offline evaluation has it: answers that hold their truth
    assert metric.evaluate(1)["masks/refined/cIoU"] == pytest.approx(ciou(FOUND[1], TRUE[0]))


def test_classes_of_the_data_set_are_phrases():
    sample = detected(TRUE[:1], FOUND[:2], scores=[0.4, 0.6])
    target, found = from_det_data_sample(sample.to_dict(), classes=("dog", "cat"))
    assert target.phrases == ("dog",) and found.phrases == ("dog", "dog")
    assert found.scores == pytest.approx((0.6, 0.4)) and target.record_id == "7"


@pytest.mark.parametrize(
    ("target", "answer", "message"),
    [
        (
            None,
            MaskPrediction(FOUND[0]),
            "got NoneType; they are data_samples",
        ),
        (DetDataSample(gt_instances=InstanceData(labels=torch.zeros(1))), MaskPrediction(FOUND[0]), "with_mask=True"),
        (
            MaskTarget(TRUE[0]),
            DetDataSample(pred_instances=InstanceData(scores=torch.zeros(1))),
            "no masks in its pred_instances",
        ),
        (
            MaskTarget(TRUE[0]),
            MaskPrediction(FOUND[0][:4]),
            r"the refined mask is \(4, 16\), but the image is \(12, 16\)",
        ),
        (MaskTarget(TRUE[0]), FOUND[0], "the answer must be a GroundedText, got ndarray"),
        (MaskTarget(TRUE[:2]), MaskPrediction(FOUND[0]), "needs one region a sample, this one has 2"),
    ],
)
def test_what_metrics_do_not_take_is_said(target, answer, message):
    with pytest.raises(ValueError, match=message):
        ReferSegMetric().process({"data_samples": [target]}, [answer])


def test_true_masks_of_a_resized_image_are_refused():
    sample = detected(TRUE[:1], FOUND[:1], ori_shape=(24, 32))
    with pytest.raises(ValueError, match=r"true masks of \(12, 16\), but the image is \(24, 32\).*after Resize"):
        ReferSegMetric().process({"data_samples": [sample]}, [sample])


def test_there_and_back():
    target = MaskTarget(
        TRUE[:2], ("dog", "cat"), labels=(1, 0), source="s/val", record_id="7", index=3, question="What?"
    )
    found = MaskPrediction(FOUND[:3], ("cat", "dog", "cat"), scores=(0.75, 0.5, 0.25), labels=(0, 1, 0), text="a cat")
    sample = to_det_data_sample(target, found)
    true, again = from_det_data_sample(sample)
    for name in ("phrases", "labels", "source", "record_id", "index", "question"):
        assert getattr(true, name) == getattr(target, name)
    assert np.array_equal(true.masks, target.masks) and np.array_equal(again.masks, found.masks)
    assert (again.phrases, again.scores, again.labels, again.text) == (
        found.phrases,
        found.scores,
        found.labels,
        "a cat",
    )
    whole = to_det_data_sample(target.sample(), found.grounded_text(), classes=("cat", "dog"))
    assert whole.pred_instances.labels.tolist() == [0, 1, 0] and whole.gt_instances.labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="s/val record 7: no class is called 'dog'"):
        to_det_data_sample(target, found.grounded_text(), classes=("cat",))


def test_boxes_are_around_the_masks():
    mask = np.zeros(SIZE, bool)
    mask[2:5, 3:9] = True
    sample = to_det_data_sample(MaskTarget(np.stack([mask, np.zeros_like(mask)])))
    assert sample.gt_instances.bboxes.tolist() == [[3, 2, 9, 5], [0, 0, 0, 0]]
    assert np.array_equal(
        BitmapMasks(mask[None].astype(np.uint8), *SIZE).get_bboxes(HorizontalBoxes).numpy()[0], [3, 2, 9, 5]
    )


@pytest.mark.parametrize(("found", "expected"), [(TRUE[:3], 1.0), (TRUE[:1], None)])
def test_mmdets_coco_metric_takes_ours(found, expected):
    """Without a file, and with the truth as prediction: an average precision of 1, and less where masks are missing."""
    target = MaskTarget(np.kron(TRUE[:3], np.ones((1, 4, 4))) > 0, labels=(0, 1, 1), record_id="12")
    prediction = MaskPrediction(np.kron(found, np.ones((1, 4, 4))) > 0, labels=(0, 1, 1)[: len(found)])
    metric = CocoMetric(metric=["bbox", "segm"])
    metric.dataset_meta = {"classes": ("dog", "cat")}
    metric.process({}, [to_det_data_sample(target, prediction).to_dict()])
    figures = metric.evaluate(1)
    if expected is None:
        assert 0 < figures["coco/segm_mAP"] < 0.9
    else:
        assert figures["coco/segm_mAP"] == figures["coco/bbox_mAP"] == pytest.approx(expected)


def test_mmdets_visualizer_draws_ours():
    image = np.full((120, 160, 3), 255, np.uint8)
    drawer = DetLocalVisualizer()
    mask = np.zeros((120, 160), bool)
    mask[20:90, 30:120] = True
    sample = to_det_data_sample(MaskTarget(mask, ("dog",)), MaskPrediction(mask, ("dog",), scores=(0.9,)))
    drawer.add_datasample("pair", image, sample)
    drawn = drawer.get_image()
    assert drawn.shape == (120, 2 * 160, 3), "truth and answer side by side"
    for left in (0, 160):
        assert (drawn[80, left + 60] != 255).any() and (drawn[110, left + 150] == 255).all()


@pytest.fixture(scope="module")
def refer_data(tmp_path_factory):
    files = write_scenes(tmp_path_factory.mktemp("scenes"), num_train=2, num_eval=2, progress=False)

    def build(*more):
        return ReferSegDataset(
            data_root=files.root,
            dataset="refcoco",
            split="val",
            image_root=f"{files.root}/images",
            pipeline=[LoadImage(), DecodeRegions(), ToDetInputs(), *more],
        )

    return build


def test_our_readers_feed_a_pipeline_of_mmdet(refer_data):
    """After mmdet's resize the truth that our metric scores by is that of the image as it was."""
    pack = PackDetInputs(meta_keys=ToDetInputs.META_KEYS)
    plain, resized = refer_data()[0], refer_data(Resize(scale=(50, 50), keep_ratio=False), pack)[0]
    sample = resized["data_samples"]
    assert resized["inputs"].shape == (3, 50, 50) and sample.gt_instances.masks.masks.shape[1:] == (50, 50)
    height, width = plain["ori_shape"]
    box = sample.gt_instances.bboxes.numpy()[0] * [width / 50, height / 50, width / 50, height / 50]
    assert np.allclose(box, plain["gt_bboxes"].numpy()[0], atol=1e-3)
    assert np.array_equal(plain["img"][..., ::-1], plain["image"])
    metric = ReferSegMetric()
    metric.process({"data_samples": [sample]}, [MaskPrediction(plain["masks"])])
    assert metric.results[0][0] == 0, "the index of the record in its data set"
    assert metric.evaluate(1)["refcoco/val/refined/cIoU"] == 1.0


def test_a_plain_answer_is_scored_as_before():
    metric = ReferSegMetric()
    metric.process({"data_samples": [MaskTarget(TRUE[0])]}, [GroundedText("none")])
    assert metric.evaluate(1)["masks/missing_seg"] == 1.0


def test_our_coco_metric_takes_a_detector(tmp_path):
    """Its labels become the names of the data set's classes, which the metric looks for in answers."""
    true = np.kron(TRUE[:2], np.ones((1, 4, 4))) > 0
    size = true.shape[1:]
    boxes = to_det_data_sample(MaskTarget(true)).gt_instances.bboxes.tolist()
    content = {
        "images": [{"id": 7, "file_name": "7.jpg", "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {
                "id": index + 1,
                "image_id": 7,
                "category_id": index + 1,
                "segmentation": encode_mask(mask),
                "bbox": [left, top, right - left, bottom - top],
                "area": int(mask.sum()),
                "iscrowd": 0,
            }
            for index, (mask, (left, top, right, bottom)) in enumerate(zip(true, boxes))
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    for labels, expected in (((0, 1), 1.0), ((1, 0), 0.0)):
        metric = CocoInstanceMetric(str(tmp_path / "instances.json"))
        metric.dataset_meta = {"classes": ("dog", "cat")}
        sample = DetDataSample(metainfo={"img_id": 7, "ori_shape": size})
        masks, scores = torch.from_numpy(true), torch.tensor([0.9, 0.8])
        sample.pred_instances = InstanceData(masks=masks, labels=torch.tensor(labels), scores=scores)
        target = MaskTarget(np.zeros((0, *size), bool), record_id="7", source="coco/val")
        metric.process({"data_samples": [target]}, [sample.to_dict()])
        figures = metric.evaluate(1)
        assert figures["coco/val/AP"] == pytest.approx(expected, abs=1e-6)
