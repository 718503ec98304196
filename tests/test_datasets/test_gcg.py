import json

import numpy as np
import pytest

from lira_plugin.datasets import GCG_LAYOUTS, Draw, GCGDataset, gcg, phrase_spans, reader_report
from lira_plugin.datasets.findings import BadRecords
from lira_plugin.structures import GCG_QUESTIONS, decode_union, encode_mask

POLYGON = [[1, 2, 30, 2, 30, 20]]


def box(top, left):
    mask = np.zeros((40, 60), bool)
    mask[top : top + 6, left : left + 9] = True
    return mask


def build(tmp_path, content, layout, **settings):
    path = tmp_path / "gcg.json"
    path.write_text(json.dumps(content))
    return GCGDataset(str(path), "images", layout, [lambda results: results], **settings)


@pytest.fixture
def logged(monkeypatch):
    reasons = {}
    monkeypatch.setattr(reader_report, "log_skipped", lambda source, path, found, done: reasons.update(found))
    return reasons


def refcocog(caption, *sentences, name="12"):
    refs = [
        {"sentence": s, "bbox": [0, 0, 1, 1], "segmentation": [[n, 0, 9, 0, 9, 9]]} for n, s in enumerate(sentences)
    ]
    return {name: {"img_file_name": "COCO_1.jpg", "caption": caption, "refs": refs}}


def grandf(caption, groundings, image_id="7"):
    return {
        "file_name": "sa_1.jpg",
        "height": 40,
        "width": 60,
        "image_id": image_id,
        "caption": caption,
        "groundings": {
            name: {"token_positives": list(span), "rle_masks": [encode_mask(mask) for mask in masks]}
            for name, (span, masks) in groundings.items()
        },
    }


def flickr(images, annotations):
    return {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "height": 40, "width": 60, "caption": "Two dogs run.", **image}
            for n, image in enumerate(images)
        ],
        "annotations": [
            {
                "id": n,
                "image_id": 0,
                "bbox": [1, 2, 9, 6],
                "area": 54,
                "tokens_positive": [[0, 8]],
                "sam_mask": encode_mask(box(2 + n, 1)),
                **extra,
            }
            for n, extra in enumerate(annotations)
        ],
    }


def phrases(record):
    """(phrase in the answer, first number of its polygon) in order of mention."""
    (turn,) = record.conversation.turns
    named = [(turn.answer[s.start : s.end], record.regions[s.region]) for s in turn.spans]
    assert all(text == region.phrase for text, region in named)
    assert record.conversation.mentioned_regions == tuple(range(len(record.regions)))
    return [(text, region.segmentations[0][0][0]) for text, region in named]


@pytest.mark.parametrize(
    ("caption", "sentences", "expected"),
    [
        ("A Man near a dog.", ["a man", "a dog"], [("a man", 0), ("a dog", 1)]),
        ("a man near a dog.", ["A Dog", "A man"], [("a man", 1), ("a dog", 0)]),
        ("a cat beside a cat.", ["a cat", "a cat"], [("a cat", 0), ("a cat", 1)]),
        ("a dog chases a black dog", ["dog", "a black dog"], [("dog", 0), ("a black dog", 1)]),
        ("a black dog chases a dog", ["dog", "a black dog"], [("a black dog", 1), ("dog", 0)]),
        ("a woman beside a man", ["man"], [("man", 0)]),
        ("three firetrucks", ["truck"], [("truck", 0)]),
        ("man on horse in field", ["horse in field", "man on horse"], [("man on", 1), ("horse in field", 0)]),
    ],
    ids=["case", "other case", "repeated", "contained later", "contained first", "word", "part of word", "crossing"],
)
def test_refcocog_spans(tmp_path, logged, caption, sentences, expected):
    record = build(tmp_path, [refcocog(caption, *sentences)], "refcocog")[0]["record"]
    assert record.conversation.turns[0].answer == caption.lower()
    assert phrases(record) == expected
    assert logged == {}


def test_refcocog_record(tmp_path):
    data = build(tmp_path, [refcocog("a man", "a man"), refcocog("A dog", "a dog", name="13")], "refcocog")
    assert [data[n]["record"].record_id for n in range(2)] == ["12", "13"]
    record = data[0]["record"]
    assert record.image_path == "images/COCO_1.jpg"
    assert record.source == "gcg/refcocog"
    assert record.size is None


def test_refcocog_phrase_covered_by_another_is_left_out_and_logged(tmp_path, logged):
    record = build(tmp_path, [refcocog("a black dog", "dog", "a black dog")], "refcocog")[0]["record"]
    assert phrases(record) == [("a black dog", 1)]
    assert logged == {gcg.COVERED: ["12: 'dog'"]}


def test_spans_of_random_captions_never_overlap(tmp_path):
    rng = np.random.default_rng(0)
    words = ["Dog", "dog", "a", "man", "woman", "a dog", "dog a man", "a a"]
    for _ in range(300):
        caption = " ".join(rng.choice(words, 6))
        tokens = caption.split()
        starts = rng.integers(0, len(tokens), 4)
        chosen = [" ".join(tokens[s : s + rng.integers(1, 4)]) for s in starts]
        spans = phrase_spans.place_phrases(caption.lower(), [phrase.lower() for phrase in chosen])
        covered = np.zeros(len(caption), int)
        for span, phrase in zip(spans, chosen):
            if span:
                covered[slice(*span)] += 1
                text = caption.lower()[slice(*span)]
                assert text in phrase.lower()
                assert text == text.strip() != ""
        assert covered.max() == 1


def test_grandf_takes_spans_as_they_are_and_unites_masks(tmp_path):
    entry = grandf("Sky above the sea.", {"the sea": ((10, 17), [box(20, 5)]), "Sky": ((0, 3), [box(1, 2), box(4, 9)])})
    record = build(tmp_path, [entry], "grandf", source="gcg/psg")[0]["record"]
    assert record.conversation.turns[0].answer == "Sky above the sea."
    assert [region.phrase for region in record.regions] == ["Sky", "the sea"]
    assert record.conversation.mentioned_regions == (0, 1)
    assert (record.record_id, record.source, record.size) == ("7", "gcg/psg", (40, 60))
    np.testing.assert_array_equal(decode_union(record.regions[0].segmentations, 40, 60), box(1, 2) | box(4, 9))
    np.testing.assert_array_equal(decode_union(record.regions[1].segmentations, 40, 60), box(20, 5))


def test_grandf_keeps_the_longer_of_nested_spans_and_unites_equal_ones(tmp_path, logged):
    groundings = {
        "dog": ((8, 11), [box(1, 1)]),
        "a black dog": ((0, 11), [box(2, 2)]),
        "the man": ((16, 23), [box(3, 3)]),
        "man": ((16, 23), [box(9, 9)]),
    }
    record = build(tmp_path, [grandf("a black dog and the man", groundings)], "grandf")[0]["record"]
    assert [region.phrase for region in record.regions] == ["a black dog", "the man"]
    np.testing.assert_array_equal(decode_union(record.regions[1].segmentations, 40, 60), box(3, 3) | box(9, 9))
    assert logged == {gcg.COVERED: ["7: 'dog'"], gcg.OTHER_WORDS: ["7: 'man' at 'the man'"]}


def test_grandf_spans_of_other_words_are_taken_and_logged(tmp_path, monkeypatch):
    """Names may differ in case; a span that is off is the file's affair, but not a silent one."""
    messages = []
    monkeypatch.setattr(
        "lira_plugin.datasets.grounding_dataset.print_log", lambda message, **_: messages.append(message)
    )
    groundings = {"sky": ((0, 3), [box(1, 2)]), "sea": ((14, 16), [box(20, 5)])}
    record = build(tmp_path, [grandf("Sky above the sea.", groundings)], "grandf")[0]["record"]
    assert [region.phrase for region in record.regions] == ["Sky", "se"]
    (message,) = messages
    assert "took as they are 1 entries" in message and gcg.OTHER_WORDS in message and "7: 'sea' at 'se'" in message


def test_flickr_takes_the_first_span_and_unites_equal_ones(tmp_path):
    caption = {"caption": "Two dogs chase a cat."}
    annotations = [
        {"tokens_positive": [[15, 20], [0, 3]]},
        {"tokens_positive": [[0, 8]]},
        {"tokens_positive": [[0, 8]]},
    ]
    record = build(tmp_path, flickr([caption], annotations), "flickr")[0]["record"]
    assert [region.phrase for region in record.regions] == ["Two dogs", "a cat"]
    np.testing.assert_array_equal(decode_union(record.regions[0].segmentations, 40, 60), box(3, 1) | box(4, 1))
    assert (record.record_id, record.image_path, record.size) == ("0", "images/0.jpg", (40, 60))


def test_flickr_filters_are_counted_and_logged(tmp_path, logged):
    images = [{}, {"caption": "Two dogs"}, {"height": 31}, {}]
    annotations = [
        {},
        {"bbox": [1, 2, 0.5, 6]},
        {"bbox": [80, 2, 9, 6]},
        {"area": 0},
        {"ignore": 1},
        {"image_id": 1},
        {"image_id": 2},
        {"image_id": 3, "area": 0},
    ]
    data = build(tmp_path, flickr(images, annotations), "flickr")
    assert [data[n]["record"].record_id for n in range(len(data))] == ["0"]
    assert logged == {
        gcg.DEGENERATE: [f"0: annotation {n}" for n in (1, 2, 3)],
        gcg.IGNORED: ["0: annotation 4"],
        "the caption has fewer than three words": ["1"],
        "the image has a side below 32 pixels": ["2"],
        "all annotations of the image are degenerate or marked 'ignore'": ["3"],
    }


def test_a_phrase_that_is_not_in_its_caption_is_dropped_alone(tmp_path, logged):
    """As both published readers do (LIRA's ``gcg_process.py``, GLaMM's ``GranDf_gcg_ds.py``)."""
    data = build(tmp_path, [refcocog("A man and a cat", "a man", "a dog", " ", "a cat")], "refcocog")
    record = data[0]["record"]
    assert [region.phrase for region in record.regions] == ["a man", "a cat"]
    assert logged == {gcg.ABSENT: ["12: 'a dog' in 'a man and a cat'", "12: '' in 'a man and a cat'"]}


@pytest.mark.parametrize("around", ["{}", '"{}"', " {} ", '" {}"', '"{}" \n'])
def test_quotes_and_blanks_around_a_caption_go_before_spans_are_counted(tmp_path, around):
    """Spans count in the stripped text: the published readers strip quotes, then blanks."""
    caption, stripped = around.format("A dog runs."), around.format("A dog runs.").strip('"').strip()
    start = stripped.index("dog")
    contents = {
        "grandf": [grandf(caption, {"dog": ((start, start + 3), [box(1, 2)])})],
        "refcocog": [refcocog(caption, "dog")],
        "flickr": flickr([{"caption": caption}], [{"image_id": 0, "tokens_positive": [[start, start + 3]]}]),
    }
    for layout, content in contents.items():
        record = build(tmp_path, content, layout)[0]["record"]
        (turn,) = record.conversation.turns
        assert turn.answer.lower() == stripped.lower() and [region.phrase for region in record.regions] == ["dog"], (
            layout
        )


BAD = {
    "no phrase in caption": (
        "refcocog",
        refcocog("a man", "a dog", " ", name="bad"),
        "its phrases are not in the caption",
    ),
    "no region": ("refcocog", refcocog("a man", name="bad"), "the record has no region"),
    "no polygon": (
        "refcocog",
        {"bad": {"img_file_name": "x", "caption": "a man", "refs": [{"sentence": "a man", "segmentation": []}]}},
        "a phrase has no mask: 'a man'",
    ),
    "missing key": ("refcocog", {"bad": {"caption": "a man"}}, "it lacks 'img_file_name'"),
    "no mask": ("grandf", grandf("Sky above.", {"Sky": ((0, 3), [])}, "bad"), "a phrase has no mask: 'Sky'"),
    "outside": ("grandf", grandf("Sky.", {"Sky": ((0, 5), [box(1, 1)])}, "bad"), r"leaves the caption: \[0, 5\)"),
    "empty span": ("grandf", grandf("Sky.", {"Sky": ((2, 2), [box(1, 1)])}, "bad"), "a span is empty"),
    "no pair": ("grandf", grandf("Sky.", {"Sky": ((2,), [box(1, 1)])}, "bad"), r"not a pair.*\[2\] of Sky"),
    "crossing": (
        "grandf",
        grandf("Sky above sea", {"a": ((0, 9), [box(1, 1)]), "b": ((4, 13), [box(1, 1)])}, "bad"),
        "two spans cross",
    ),
}
GOOD = {
    "refcocog": refcocog("a man", "a man", name="good"),
    "grandf": grandf("Sky.", {"Sky": ((0, 3), [box(1, 1)])}, "good"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_records_are_errors_or_skipped(tmp_path, logged, case):
    layout, bad, message = BAD[case]
    with pytest.raises(ValueError, match=rf"gcg\.json: record bad \(position 1\): .*{message}.*on_bad_record='skip'"):
        build(tmp_path, [GOOD[layout], bad], layout)
    assert logged == {}
    data = build(tmp_path, [bad, GOOD[layout]], layout, on_bad_record="skip")
    assert [data[n]["record"].record_id for n in range(len(data))] == ["good"]
    assert [entry.startswith("bad: ") for entries in logged.values() for entry in entries] == [True]


def test_flickr_image_without_annotations_is_a_bad_record(tmp_path):
    with pytest.raises(ValueError, match=r"gcg\.json: record 1 \(position 1\): the record has no region"):
        build(tmp_path, flickr([{}, {}], [{}]), "flickr")


def test_nothing_left_is_an_error_with_counts(tmp_path):
    with pytest.raises(ValueError, match=r"gcg\.json holds no record.*\{'the record has no region': 1\}"):
        build(tmp_path, [refcocog("a man")], "refcocog", on_bad_record="skip")


def test_questions_are_drawn_or_fixed(tmp_path):
    content = [refcocog("a man", "a man")]
    data = build(tmp_path, content, "refcocog")

    def question(data, number):
        return data[Draw(0, number)]["record"].conversation.turns[0].question

    drawn = [question(data, number) for number in range(80)]
    assert set(drawn) == set(GCG_QUESTIONS)
    assert drawn == [question(data, number) for number in range(80)]
    fixed = build(tmp_path, content, "refcocog", question_index=1)
    assert {question(fixed, number) for number in range(20)} == {GCG_QUESTIONS[1]}
    assert GCG_QUESTIONS[1].startswith("Can you provide a thorough description of the this image?")
    assert len(GCG_QUESTIONS) == 6


def test_modality_length(tmp_path):
    data = build(tmp_path, [refcocog("a man near a dog", "a man")], "refcocog", question_index=2)
    assert data.modality_length == [len(GCG_QUESTIONS[2].split()) + 5]


def test_another_layout_is_one_more_entry(tmp_path, monkeypatch):
    layout = gcg.GCGLayout(
        entries=lambda path: [("only", "Sky above sea")],
        parse=lambda caption: gcg.GroundedCaption("x.jpg", caption, [phrase_spans.GroundedPhrase(0, 3, (POLYGON,))]),
    )
    monkeypatch.setitem(GCG_LAYOUTS, "mine", layout)
    record = build(tmp_path, [], "mine")[0]["record"]
    assert record.regions[0].phrase == "Sky"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "coco"}, r"unknown layout 'coco'; known are \['flickr', 'grandf', 'refcocog'\]"),
        ({"on_bad_record": "ignore"}, "on_bad_record must be"),
        ({"question_index": 6}, r"question_index must be in 0\.\.5"),
    ],
)
def test_wrong_arguments(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, [refcocog("a man", "a man")], **{"layout": "refcocog", **settings})


@pytest.mark.parametrize(
    ("layout", "content"),
    [("refcocog", {}), ("grandf", {}), ("flickr", []), ("refcocog", [{"1": {}, "2": {}}])],
)
def test_files_of_another_layout_are_named(tmp_path, layout, content):
    with pytest.raises(ValueError, match=r"gcg\.json"):
        build(tmp_path, content, layout)


def test_all_bad_records_are_named_at_once(tmp_path):
    bad = {key: {**grandf("Sky.", {}, key), "height": value} for key, value in (("a", 0), ("b", "40"), ("c", None))}
    with pytest.raises(BadRecords) as error:
        build(tmp_path, [GOOD["grandf"], *bad.values()], "grandf")
    assert [finding.record for finding in error.value.findings] == ["a", "b", "c"]
    lines = str(error.value).splitlines()
    assert "record a (position 1): 'height' must be a whole number of at least 1: got 0" in lines[0]
    assert lines[1] == "2 more cannot be used:" and "got '40'" in lines[2] and "got None" in lines[3]


def test_a_phrase_that_is_a_key_twice_is_no_sound_record(tmp_path):
    path = tmp_path / "gcg.json"
    entry = json.dumps(grandf("a dog, a dog", {"a dog": ((0, 5), [box(1, 1)]), "A DOG": ((7, 12), [box(9, 9)])}, "bad"))
    path.write_text(f"[{entry.replace('A DOG', 'a dog')}]")
    with pytest.raises(
        ValueError, match=r"gcg\.json: record bad \(position 0\): a phrase occurs several times.*'a dog'"
    ):
        GCGDataset(str(path), "images", "grandf", [lambda results: results])


def test_a_bad_annotation_leaves_its_caption_out_alone(tmp_path, logged):
    content = flickr([{}, {}, {}], [{}, {"image_id": 1, "bbox": [1, 2, "9", 6]}, {"image_id": 2}, {"image_id": 9}])
    data = build(tmp_path, content, "flickr", on_bad_record="skip")
    assert [data[n]["record"].record_id for n in range(len(data))] == ["0", "2"]
    assert [entry for entries in logged.values() for entry in entries] == [
        "1: annotation 1 (position 1 of 'annotations'): got '9'",
        "9: annotation 3 (position 3 of 'annotations'): add the image, or remove what names it",
    ]


def test_whole_records_ask_the_longest_question(tmp_path):
    data = build(tmp_path, [refcocog("a man", "a man")], "refcocog")
    (found,) = data.whole_records(0)
    assert found.conversation.turns[0].question == max(GCG_QUESTIONS, key=len)
    assert found.regions == data[0]["record"].regions
