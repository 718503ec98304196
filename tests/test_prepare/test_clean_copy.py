"""The doctor and its clean copy over files in the layouts of COCO and LLaVA, without a model."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lira_plugin.datasets.doctor import Reading, examine
from lira_plugin.prepare.clean_copy import CleanCopy

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]
BROKEN = [[1, 1, 9, 9]]
READING = Reading(show_progress=False)


def sampled(results):
    """A sample of nothing but its name, as the doctor counts it."""
    lengths = {"input_ids": (), "kinds": np.zeros(0), "view_tiles": (), "masks": ()}
    return SimpleNamespace(
        name=results["record"].record_id, dropped_regions=0, cut_answers=0, empty_regions=0, **lengths
    )


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(1, 5):
        Image.fromarray(np.full((40, 40, 3), 40 * index, np.uint8)).save(tmp_path / f"images/{index}.png")
    return tmp_path / "images"


def coco(*annotations, **sections):
    """A file of four images; annotations are (image, category, segmentation) with more keys."""
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 40} for i in range(1, 5)],
        "annotations": [
            {"id": index, "image_id": image, "category_id": category, "segmentation": mask, **more}
            for index, (image, category, mask, more) in enumerate(annotations)
        ],
        "categories": [{"id": 5, "name": "Red_Cat"}, {"id": 7, "name": "dog"}],
        **sections,
    }


class Case:
    """One data set, examined and copied."""

    def __init__(self, images, kind, content, **settings):
        self.path = images.parent / "ann" / "own.json"
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(content if isinstance(content, str) else json.dumps(content))
        self.config = {
            "type": f"lira_plugin.{kind}", "ann_file": str(self.path), "image_root": str(images), "pipeline": [sampled],
            **settings,
        }  # fmt: skip

    def examine(self):
        ((part, check),) = self.examined = examine({"train": self.config}, reading=READING)
        return check

    def kinds(self):
        return [str(one.kind) for one in self.scanned()]

    def scanned(self):
        """What the scan and the look at the masks have found."""
        self.examine()
        return self.examined[0][0].scan.findings

    def copied(self, out="clean"):
        """The content of the clean copy."""
        self.examine()
        copy = CleanCopy(self.path.parent.parent / out)
        copy.write(self.examined)
        return json.loads(copy.target(self.path).read_text())


def kept(content):
    return [one["id"] for one in content["images"]], [one["id"] for one in content["annotations"]]


@pytest.mark.parametrize("kind", ["CocoPromptDataset", "CocoInstanceDataset"])
def test_an_image_leaves_with_each_of_its_instances(images, kind):
    content = coco(
        (1, 5, BROKEN, {}), (2, 5, SQUARE, {}), (2, 7, BROKEN, {}), (3, 7, SQUARE, {}),
        (3, 7, BROKEN, {"iscrowd": 1, "image_id": 999}), (4, 5, [[5, 5, 5, 5, 5, 5]], {}),
    )  # fmt: skip
    assert kept(Case(images, kind, content).copied()) == ([3], [3])


def test_an_image_stays_where_a_copy_of_an_instance_leaves(images):
    content = coco((1, 5, SQUARE, {}), (1, 5, SQUARE, {"id": 0}), (2, 5, SQUARE, {}), (2, 7, SQUARE, {"id": 2}))
    assert kept(Case(images, "CocoPromptDataset", content).copied()) == ([1, 3, 4], [0])


def test_an_image_of_a_category_that_leaves_has_no_object_of_the_others(images):
    content = coco((1, 5, SQUARE, {}), (2, 7, SQUARE, {}))
    content["categories"][0]["name"] = " "
    assert kept(Case(images, "CocoPromptDataset", content).copied()) == ([1, 2, 3, 4], [1])


@pytest.mark.parametrize(("other", "stays"), [("red cat", []), ("bird", [1])])
def test_annotations_of_one_phrase_leave_together(images, other, stays):
    content = coco((1, 5, BROKEN, {}), (1, 7, SQUARE, {}), (2, 5, SQUARE, {}))
    content["categories"][1]["name"] = other
    case = Case(images, "CocoPhraseDataset", content, names="lvis", num_expressions=2)
    assert kept(case.copied()) == ([1, 2, 3, 4], [*stays, 2])


@pytest.mark.parametrize("num_expressions", [2, None])
def test_findings_of_samples_name_the_annotation_of_their_phrase(images, num_expressions):
    content = coco((1, 5, SQUARE, {}), (1, 7, SQUARE, {}), (2, 7, SQUARE, {}))
    case = Case(images, "CocoPhraseDataset", content, names="lvis", num_expressions=num_expressions, pipeline=[no_cat])
    check = case.examine()
    assert {one.unit for one in check.faults} == {("annotations", 0)}


def no_cat(results):
    if any("cat" in region.phrase.lower() for region in results["record"].regions):
        raise ValueError("no cats")
    return sampled(results)


def llava(record_id, answer, **more):
    talk = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": answer}]
    return {"id": record_id, "image": "1.png", "conversations": talk, **more}


def test_conversations_may_share_an_id(images):
    records = [llava("1", "One."), llava("1", "Two."), llava("1", "One."), llava(1, " ")]
    case = Case(images, "LlavaDataset", records)
    assert [(str(one.kind), one.unit) for one in case.scanned()] == [
        ("duplicate_sentence", (2,)),
        ("empty_text", (3,)),
    ]
    assert case.copied() == records[:2]


def test_findings_of_samples_name_the_conversation_among_those_of_one_id(images):
    case = Case(images, "LlavaDataset", [llava("1", "One."), llava("1", "Two.")], pipeline=[no_two])
    assert [one.unit for one in case.examine().faults] == [(1,)]


def no_two(results):
    if "Two" in results["record"].conversation.turns[0].answer:
        raise ValueError("no twos")
    return sampled(results)


UNREAD = ['{"v": NaN}', '{"v": 1e400}', f'{{"v": {"9" * 400}.0}}', '{"a": 1, "a": 1}', '"\\ud800"', '{"\\ud800": 1}',
          '[[[[[[[[[[[[{"v": NaN}]]]]]]]]]]]]', '[1, {"b": {"c": [{"d": 1, "d": 2}]}}]']  # fmt: skip
KINDS = [*["non_finite"] * 3, "duplicate_key", "layout", "layout", "non_finite", "duplicate_key"]


@pytest.mark.parametrize(("unread", "kind"), zip(UNREAD, KINDS, strict=True))
@pytest.mark.parametrize("where", ["info", "annotation", "category", "message"])
def test_what_no_reader_uses_is_found_and_not_copied(images, where, unread, kind):
    if where == "message":
        content = [llava("1", "One."), llava("2", "Two.")]
        content[0]["conversations"][0]["x"] = "MARK"
    else:
        content = coco((1, 5, SQUARE, {}), (2, 7, SQUARE, {}), info={})
        parts = {"info": content["info"], "annotation": content["annotations"][0], "category": content["categories"][0]}
        parts[where]["x"] = "MARK"
    text = json.dumps(content).replace('"MARK"', unread)
    case = Case(images, "LlavaDataset" if where == "message" else "CocoInstanceDataset", text)
    unit = {"info": ("info",), "annotation": ("annotations", 0), "category": ("categories", 0), "message": (0,)}[where]
    assert [(str(one.kind), one.unit) for one in case.scanned()] == [(kind, unit)]
    copied = case.copied()
    if where == "message":
        assert copied == content[1:]
    elif where == "info":
        assert copied == {key: value for key, value in content.items() if key != "info"}
    else:
        assert kept(copied) == (([2, 3, 4], [1]) if where == "annotation" else ([1, 2, 3, 4], [1]))


def test_a_repeated_key_in_a_mask_is_one(images):
    rle = '{"size": [40, 40], "size": [40, 40], "counts": "0"}'
    groundings = {"a cat": {"token_positives": [0, 5], "rle_masks": "MARK"}}
    record = {
        "image_id": 1,
        "file_name": "1.png",
        "height": 40,
        "width": 40,
        "caption": "a cat",
        "groundings": groundings,
    }
    case = Case(images, "GCGDataset", json.dumps([record]).replace('"MARK"', f"[{rle}]"), layout="grandf")
    assert [(str(one.kind), one.unit) for one in case.scanned()] == [("duplicate_key", (0, "groundings", "a cat"))]


def test_a_crowd_of_no_category_is_named(images):
    content = coco((1, 5, SQUARE, {}), (1, 99999, SQUARE, {"iscrowd": 1}), (1, 7, SQUARE, {"iscrowd": 1}))
    case = Case(images, "CocoInstanceDataset", content)
    assert [(str(one.kind), one.unit) for one in case.scanned()] == [("unknown_id", ("annotations", 1))]
    assert kept(case.copied()) == ([1, 2, 3, 4], [0, 2])


def test_a_broken_mask_of_a_phrase_that_is_there_twice_is_named(images):
    sound, broken = ({"size": [40, 40], "counts": counts} for counts in ([5, 1595], [5, 9]))
    refs = [{"sentence": "a cat", "segmentation": mask} for mask in (sound, broken)]
    record = {"c1": {"img_file_name": "1.png", "caption": "a cat", "refs": refs}}
    case = Case(images, "GCGDataset", [record], layout="refcocog")
    assert [(str(one.kind), one.unit) for one in case.scanned()] == [("bad_rle", (0, "c1", "refs", 1))]


def refcoco(images, refs, instances):
    folder = images.parent / "refcoco"
    folder.mkdir()
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    (folder / "instances.json").write_text(json.dumps(instances))
    config = {
        "type": "lira_plugin.ReferSegDataset", "data_root": str(images.parent), "image_root": str(images),
        "dataset": "refcoco", "split": "train", "num_expressions": 2, "pipeline": [sampled],
    }  # fmt: skip
    ((part, check),) = examine({"train": config}, reading=READING)
    return [(str(one.kind), one.unit) for one in check.faults]


@pytest.mark.parametrize("container", [list, tuple])
def test_sentences_of_a_pickle_may_be_a_tuple(images, container):
    sentences = container([{"sent": "a cat", "sent_id": 1}, {"sent": " ", "sent_id": 2}])
    refs = [{"ref_id": 1, "ann_id": 0, "image_id": 1, "split": "train", "sentences": sentences}]
    assert refcoco(images, refs, coco((1, 5, SQUARE, {}))) == [("empty_text", (0, "sentences", 1))]


def test_an_unknown_category_of_instances_is_named(images):
    sentences = [{"sent": "a cat", "sent_id": 1}]
    refs = [{"ref_id": 1, "ann_id": 0, "image_id": 1, "split": "train", "sentences": sentences}]
    instances = coco((1, 987, SQUARE, {}), (1, 5, SQUARE, {}))
    assert refcoco(images, refs, instances) == [("unknown_id", ("annotations", 0))]
