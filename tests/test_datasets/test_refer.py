import copy
import json
import pickle

import numpy as np
import pytest

from lira_plugin.datasets import Draw, ReferSegDataset, reader_report
from lira_plugin.datasets.findings import BadRecords
from lira_plugin.structures import decode_union, encode_mask

POLYGON = [[1, 2, 30, 2, 30, 20, 1, 20]]
OTHER = [[5, 5, 12, 5, 12, 12], [15, 5, 22, 5, 22, 12]]


def mask_of(ann):
    mask = np.zeros((48, 64), bool)
    mask[ann : ann + 5, 3 : 3 + ann] = True
    return mask


def instances():
    annotations = [
        {"id": 55, "image_id": 901, "category_id": 1, "iscrowd": 0, "segmentation": POLYGON},
        {"id": 56, "image_id": 901, "category_id": 3, "iscrowd": 0, "segmentation": OTHER},
        {"id": 57, "image_id": 902, "category_id": 1, "iscrowd": 0, "segmentation": [encode_mask(mask_of(8))]},
        {"id": 58, "image_id": 902, "category_id": 1, "iscrowd": 0, "segmentation": []},
        {"id": 59, "image_id": 902, "category_id": 3, "segmentation": {"size": [48, 64], "counts": [5, 10, 3057]}},
    ]
    images = [{"id": i, "file_name": f"COCO_{i}.jpg", "height": 48, "width": 64} for i in (901, 902)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def ref(ref_id, ann_id, image_id, split, *sentences):
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "image_id": image_id,
        "category_id": 1,
        "split": split,
        "file_name": f"COCO_{image_id}_{ref_id}.jpg",
        "sent_ids": [100 * ref_id + n for n in range(len(sentences))],
        "sentences": [
            {"sent_id": 100 * ref_id + n, "sent": s, "raw": s.title(), "tokens": s.split()}
            for n, s in enumerate(sentences)
        ],
    }


REFS = [
    ref(1, 55, 901, "train", "left boy", "Boy in Red ", "the boy"),
    ref(2, 57, 902, "train", "woman"),
    ref(3, 56, 901, "train", "chair", "brown chair"),
    ref(4, 57, 902, "val", "lady", "tall lady"),
    ref(5, 58, 902, "testA", "hidden man"),
    ref(6, 59, 902, "testB", "cup"),
]


def write(tmp_path, refs, dataset="refcoco", name="refs(unc).p", content=None):
    folder = tmp_path / dataset
    folder.mkdir(exist_ok=True)
    (folder / "instances.json").write_text(json.dumps(content or instances()))
    data = json.dumps(refs).encode() if name.endswith(".json") else pickle.dumps(refs, 2)
    (folder / name).write_bytes(data)
    return folder / name


def build(tmp_path, split="train", dataset="refcoco", **settings):
    return ReferSegDataset(str(tmp_path), dataset, split, "images", [lambda results: results], **settings)


def record(dataset, draw):
    return dataset[draw]["record"]


def test_evaluation_has_one_record_a_sentence_in_file_order(tmp_path):
    write(tmp_path, REFS)
    data = build(tmp_path, "val")
    records = [record(data, n) for n in range(len(data))]
    assert [r.record_id for r in records] == ["4-400", "4-401"]
    assert [r.conversation.turns[0].question for r in records] == ["Please segment lady.", "Please segment tall lady."]
    assert {r.image_path for r in records} == {"images/COCO_902.jpg"}
    assert {r.source for r in records} == {"refcoco/val"}
    assert {r.size for r in records} == {(48, 64)}
    for r in records:
        (region,) = r.regions
        assert r.conversation.mentioned_regions == (0,)
        np.testing.assert_array_equal(decode_union(region.segmentations, *r.size), mask_of(8))


def test_training_has_one_record_an_image_with_sentences_of_all_its_refs(tmp_path):
    write(tmp_path, REFS)
    data = build(tmp_path, num_expressions=3)
    assert len(data) == 2
    labels = {"left boy": 1, "boy in red": 1, "the boy": 1, "chair": 3, "brown chair": 3}
    seen = set()
    for number in range(60):
        drawn = record(data, Draw(0, number))
        assert drawn.record_id == "901"
        assert len(drawn.conversation.turns) == 3
        phrases = [region.phrase for region in drawn.regions]
        assert len(set(phrases)) == 3, "drawn without replacement"
        assert drawn.conversation.mentioned_regions == (0, 1, 2)
        for turn, region in zip(drawn.conversation.turns, drawn.regions):
            (span,) = turn.spans
            assert turn.answer[span.start : span.end] == region.phrase
            assert turn.question == f"Please segment {region.phrase}."
            assert region.category_id == labels[region.phrase]
        seen.update(phrases)
    assert seen == set(labels)
    assert len(record(data, 1).conversation.turns) == 1, "an image with fewer sentences has fewer turns"


def test_the_same_annotation_named_twice_is_two_regions(tmp_path):
    write(tmp_path, [ref(1, 55, 901, "train", "left boy", "boy")])
    both = record(build(tmp_path, num_expressions=2), 0)
    assert both.conversation.mentioned_regions == (0, 1)
    assert both.regions[0].segmentations == both.regions[1].segmentations == (POLYGON,)


def test_a_draw_determines_the_sentences(tmp_path):
    write(tmp_path, REFS)
    one, two = build(tmp_path, num_expressions=2), build(tmp_path, num_expressions=2)
    forward = [record(one, Draw(0, n)) for n in range(20)]
    backward = [record(two, Draw(0, n)) for n in reversed(range(20))]
    assert forward == backward[::-1]
    assert len({r.conversation for r in forward}) > 5
    other_seed = build(tmp_path, num_expressions=2, seed=1)
    assert forward != [record(other_seed, Draw(0, n)) for n in range(20)]


def test_splits_follow_the_rules_of_refer(tmp_path):
    refs = [*REFS, ref(7, 55, 901, "testAB", "both"), ref(8, 55, 901, "test", "plain")]
    write(tmp_path, refs)

    def labels(split):
        data = build(tmp_path, split)
        return [record(data, n).regions[0].phrase for n in range(len(data))]

    assert labels("testA") == ["hidden man", "both"]
    assert labels("testB") == ["cup", "both"]
    assert labels("test") == ["hidden man", "cup", "both", "plain"]
    assert labels("val") == ["lady", "tall lady"]


def test_per_object_asks_the_first_sentence_of_each_ref(tmp_path):
    write(tmp_path, [ref(1, 55, 901, "val", " ", "a", "b"), ref(2, 55, 901, "val", "c")])
    every, first = build(tmp_path, "val"), build(tmp_path, "val", per="object")
    assert [record(every, n).regions[0].phrase for n in range(len(every))] == ["a", "b", "c"]
    assert [record(first, n).regions[0].phrase for n in range(len(first))] == ["a", "c"]
    for settings in ({"per": "image"}, {"per": "object", "num_expressions": 2}):
        with pytest.raises(ValueError, match="per"):
            build(tmp_path, "val", **settings)


def test_splits_of_grefcoco_are_exact(tmp_path):
    write(tmp_path, [ref(1, [55], 901, "testAB", "a"), ref(2, [55], 901, "testA", "b")], "grefcoco", "grefs(unc).json")
    assert len(build(tmp_path, "testA", "grefcoco")) == 1


def test_an_unknown_split_lists_the_splits(tmp_path):
    path = write(tmp_path, REFS)
    with pytest.raises(ValueError, match=r"'dev'.*\['testA', 'testB', 'train', 'val'\]") as error:
        build(tmp_path, "dev")
    assert str(path) in str(error.value)


def test_an_empty_annotation_is_an_empty_mask_with_a_span(tmp_path):
    write(tmp_path, REFS)
    hidden = record(build(tmp_path, "testA"), 0)
    assert hidden.regions[0].segmentations == ([],)
    assert hidden.conversation.mentioned_regions == (0,)
    assert not decode_union(hidden.regions[0].segmentations, *hidden.size).any()


def gref_refs(split):
    return [
        ref(1, [57, 59], 902, split, "lady and cup"),
        ref(2, [-1], 902, split, "Elephant"),
        ref(3, [], 902, split, "ship"),
        ref(4, 57, 902, split, "lady"),
    ]


@pytest.mark.parametrize("name", ["grefs(unc).json", "grefs(unc).p"])
def test_grefcoco_evaluation(tmp_path, name):
    write(tmp_path, gref_refs("val"), "grefcoco", name)
    data = build(tmp_path, "val", "grefcoco")
    several, elephant, ship, lady = (record(data, n) for n in range(4))
    cup = np.zeros(48 * 64, bool)
    cup[5:15] = True
    union = mask_of(8) | cup.reshape(64, 48).T
    np.testing.assert_array_equal(decode_union(several.regions[0].segmentations, *several.size), union)
    assert several.regions[0].category_id == -1, "the annotations are of different categories"
    assert lady.regions[0].category_id == 1
    for none, label in ((elephant, "elephant"), (ship, "ship")):
        assert none.regions[0].segmentations == ()
        assert none.regions[0].phrase == label
        assert none.conversation.turns[0].spans == ()
        assert none.conversation.turns[0].answer == f"There is no {label}."


def test_grefcoco_training_has_no_region_without_target(tmp_path):
    write(tmp_path, gref_refs("train"), "grefcoco", "grefs(unc).json")
    everything = record(build(tmp_path, "train", "grefcoco", num_expressions=9), 0)
    assert len(everything.conversation.turns) == 4
    assert sorted(region.phrase for region in everything.regions) == ["lady", "lady and cup"]
    assert everything.conversation.mentioned_regions == (0, 1)


def test_refcocog_is_split_by_umd_unless_told_otherwise(tmp_path):
    write(tmp_path, REFS, "refcocog", "refs(umd).p")
    write(tmp_path, REFS[:1], "refcocog", "refs(google).json")
    assert len(build(tmp_path, "train", "refcocog", num_expressions=1)) == 2
    assert len(build(tmp_path, "train", "refcocog", num_expressions=1, split_by="google")) == 1


def test_modality_length_is_positive_and_counts_words(tmp_path):
    write(tmp_path, REFS)
    evaluation = build(tmp_path, "val")
    assert evaluation.modality_length == [3 + 1, 4 + 2]
    everything = build(tmp_path, num_expressions=9)
    words = [
        sum(len(turn.question.split()) + len(turn.answer.split()) for turn in record(everything, n).conversation.turns)
        for n in range(2)
    ]
    assert everything.modality_length == words
    turns = record(everything, 0).conversation.turns
    single = {len(f"{turn.question} {turn.answer}".split()) for turn in turns}
    assert build(tmp_path, num_expressions=1).modality_length[0] in single, "of the sentence that is drawn"


def test_sentences_without_text_are_left_out_and_logged(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(reader_report, "log_skipped", lambda *arguments, done: logged.append(arguments))
    path = write(tmp_path, [ref(1, 55, 901, "val", "boy", "  ")])
    assert len(build(tmp_path, "val")) == 1
    assert logged == [("refcoco/val", str(path), {"the sentence is empty": ["1-101"]})]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ann_id": 99}, r"ref 1 \(position 0\): it names annotation 99.*instances\.json"),
        ({"ann_id": [55, 99]}, r"ref 1 \(position 0\): it names annotation 99.*instances\.json"),
        ({"ann_id": "55"}, r"it names annotation '55'.*hold 55: write the id as there"),
        ({"image_id": 99}, r"ref 1 \(position 0\): it names image 99.*instances\.json"),
        ({"ann_id": 57}, r"ref 1 .*image 901, but annotation 57 belongs to image 902"),
        ({"sentences": [{"raw": "x"}]}, r"ref 1 \(position 0\): 'sentences\[0\]' lacks 'sent'"),
        ({"split": None}, r"ref 1 \(position 0\): 'split' must be a text.*None"),
        ({"sentences": "missing"}, r"ref 1 \(position 0\): it lacks 'sentences'"),
    ],
)
def test_errors_name_the_file_and_the_ref(tmp_path, change, message):
    broken = {**copy.deepcopy(REFS[0]), **change}
    if change.get("sentences") == "missing":
        del broken["sentences"]
    path = write(tmp_path, [broken, REFS[1]])
    with pytest.raises(ValueError, match=message) as error:
        build(tmp_path)
    assert str(path) in str(error.value)


def test_an_annotation_without_segmentation_is_named(tmp_path):
    content = instances()
    del content["annotations"][0]["segmentation"]
    write(tmp_path, REFS, content=content)
    with pytest.raises(
        ValueError,
        match=r"ref 1 \(position 0\): it names an annotation without 'segmentation': 55 in .*instances\.json",
    ):
        build(tmp_path)


def test_a_set_of_ones_own_has_any_name_and_exact_splits(tmp_path):
    write(tmp_path, REFS, "our cracks", "refs(2024).json")
    data = build(tmp_path, "testA", "our cracks")
    assert [data[index]["record"].record_id for index in range(len(data))] == ["5-500"]
    assert data[0]["record"].source == "our cracks/testA"
    write(tmp_path, [ref(1, 55, 901, "test-new", "boy")], "our cracks", "refs(2025).json")
    with pytest.raises(ValueError, match=r"refs\(2024\)\.json, refs\(2025\)\.json; say with split_by"):
        build(tmp_path, "testA", "our cracks")
    assert len(build(tmp_path, "test-new", "our cracks", split_by="2025")) == 1


def test_wrong_arguments(tmp_path):
    write(tmp_path, REFS)
    with pytest.raises(FileNotFoundError, match=r"there is no file refs\(NAME\).*'refclef'"):
        build(tmp_path, dataset="refclef")
    with pytest.raises(ValueError, match="num_expressions"):
        build(tmp_path, num_expressions=0)
    with pytest.raises(FileNotFoundError, match=r"refs\(umd\)\.p.*refs\(umd\)\.json.*split_by"):
        build(tmp_path, split_by="umd")
    with pytest.raises(IndexError, match=r"refcoco/val has 2 records"):
        build(tmp_path, "val")[2]


@pytest.mark.parametrize("text", ['{"refs": []}', "[]", "["])
def test_a_file_of_refs_is_a_list(tmp_path, text):
    path = write(tmp_path, REFS, name="refs(unc).json")
    path.write_text(text)
    with pytest.raises(ValueError, match=r"refs\(unc\)\.json is not a (file of refs|JSON file)"):
        build(tmp_path)


def test_all_bad_refs_are_named_at_once_or_left_out(tmp_path):
    write(tmp_path, [{**REFS[0], "ann_id": 99}, {**REFS[1], "sentences": None}, REFS[2]])
    with pytest.raises(BadRecords) as error:
        build(tmp_path)
    assert [finding.record for finding in error.value.findings] == ["2", "1"]
    data = build(tmp_path, on_bad_record="skip", num_expressions=9)
    assert len(data) == 1 and len(record(data, 0).regions) == 2
    assert [(finding.effect, finding.record) for finding in data.findings] == [("unusable", "2"), ("unusable", "1")]


def test_refs_without_sentences_and_of_misspelt_splits_are_counted_and_named(tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(reader_report, "log_skipped", lambda source, path, skipped, done: logged.update(skipped))
    write(
        tmp_path, [REFS[0], ref(2, 57, 902, "train"), ref(3, 56, 901, "Train", "chair"), ref(4, 56, 901, "testA", "a")]
    )
    assert len(build(tmp_path, num_expressions=1)) == 1
    assert logged == {
        "the ref has no sentence": ["2"],
        "the split is 'Train', which is none of train, val, test, testA, testB": ["3"],
    }


def test_whole_records_hold_every_sentence_once(tmp_path):
    write(tmp_path, REFS)
    found = list(build(tmp_path, num_expressions=2).whole_records(0))
    assert [[region.phrase for region in r.regions] for r in found] == [
        ["left boy", "boy in red"],
        ["the boy", "chair"],
        ["brown chair"],
    ]
