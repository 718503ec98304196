import json

import pytest

from lira_plugin.datasets import LlavaDataset


def turns(*texts):
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def build(tmp_path, entries, **settings):
    path = tmp_path / "llava.json"
    path.write_text(json.dumps(entries))
    return LlavaDataset(str(path), "images", [lambda results: results], source="vqa", **settings)


def test_an_image_record_of_several_turns(tmp_path):
    entry = {"id": "q7", "image": "a/b.jpg", "conversations": turns("<image>\nWhat is it?", "A cat.", "Sure?", "Yes. ")}
    record = build(tmp_path, [entry])[0]["record"]
    assert record.record_id == "q7"
    assert record.source == "vqa"
    assert record.image_path == "images/a/b.jpg"
    assert [(t.question, t.answer, t.spans) for t in record.conversation.turns] == [
        ("What is it?", "A cat.", ()),
        ("Sure?", "Yes. ", ()),
    ]
    assert record.regions == ()


@pytest.mark.parametrize("text", ["<image>\nWhat?", "What?\n<image>", "What?"])
def test_the_image_may_stand_before_after_or_nowhere(tmp_path, text):
    record = build(tmp_path, [{"id": 1, "image": "b.jpg", "conversations": turns(text, "A")}])[0]["record"]
    assert record.conversation.turns[0].question == "What?"


def test_text_only_records_and_records_without_id(tmp_path):
    data = build(tmp_path, [{"id": 3, "conversations": turns("Hi", "Hello")}, {"conversations": turns("1+1?", "2")}])
    assert [data[n]["record"].record_id for n in range(2)] == ["3", "1"]
    assert data[0]["record"].image_path is None


def test_modality_length_is_negative_without_an_image_and_never_zero(tmp_path):
    data = build(
        tmp_path,
        [
            {
                "id": 0,
                "image": "b.jpg",
                "conversations": turns("<image>\nWhat is it?", "A small cat.", "Sure?", "Yes."),
            },
            {"id": 1, "conversations": turns("How are you?", "Fine.")},
            {"id": 2, "conversations": turns("", "")},
        ],
    )
    assert data.modality_length == [3 + 3 + 1 + 1, -4, -1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conversations": turns("<image><image>\nQ", "A")}, r"message 0 holds 2 times '<image>'"),
        ({"conversations": turns("Q", "A", "<image>Q", "A")}, r"message 2 holds 1 times '<image>'"),
        ({"conversations": turns("Q", "<image>")}, r"message 1 holds 1 times '<image>'"),
        ({"conversations": turns("<image>Q", "A"), "image": None}, r"message 0 holds 1 times.*no image"),
        ({"conversations": turns("Q", "A", "Q")}, r"pairs of a human question and a gpt answer"),
        ({"conversations": []}, r"pairs of a human question"),
        ({"conversations": turns("Q", "A")[::-1]}, r"message 0 must be from 'human': got 'gpt'"),
        ({"conversations": [{"from": "human", "value": "Q"}] * 2}, r"message 1 must be from 'gpt'"),
        ({"conversations": [{"from": "system", "value": "Q"}] * 2}, r"message 0 must be from 'human'"),
        ({"conversations": turns("Q", None)}, r"'conversations\[1\].value' must be a text: got None"),
        ({"image": ["a.jpg", "b.jpg"]}, r"'image' must be a text or null: got \['a.jpg', 'b.jpg'\]"),
        ({"image": None, "images": ["a.jpg"]}, r"the key 'images' carries an input.*got \['a.jpg'\]"),
        ({"video": "a.mp4"}, r"the key 'video' carries an input"),
        ({"audio_path": "a.wav"}, r"the key 'audio_path' carries an input"),
        ({"conversations": turns("<video>\nQ", "A")}, r"message 0 asks about an input.*'<video>'"),
        ({"conversations": turns("Q", "A", "<image2> Q", "A")}, r"message 2 asks about an input.*'<image2>'"),
    ],
)
def test_errors_name_the_file_and_the_record(tmp_path, change, message):
    good = {"id": "ok", "image": "b.jpg", "conversations": turns("Q", "A")}
    with pytest.raises(ValueError, match=rf"llava\.json: record r9 \(position 1\): .*{message}"):
        build(tmp_path, [good, {**good, "id": "r9", **change}])


def test_bad_records_are_left_out_on_request_and_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        "lira_plugin.datasets.grounding_dataset.print_log", lambda message, **settings: said.append(message)
    )
    good, bad = {"id": "ok", "conversations": turns("Q", "A")}, {"id": "r9", "conversations": turns("Q", "A", "Q")}
    data = build(tmp_path, [bad, good], on_bad_record="skip")
    assert [data[index]["record"].record_id for index in range(len(data))] == ["ok"]
    [message] = said
    assert (
        "left out 1 entries" in message and "'conversations' must be" in message and "(r9: got 3 messages)" in message
    )
    with pytest.raises(ValueError, match="no record that can be used"):
        build(tmp_path, [bad], on_bad_record="skip")
    with pytest.raises(ValueError, match="on_bad_record='skip'"):
        build(tmp_path, [bad])
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        build(tmp_path, [good], on_bad_record="drop")


@pytest.mark.parametrize("content", [{}, [], "text"])
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"llava\.json is not a LLaVA file"):
        build(tmp_path, content)


def test_an_entry_that_is_not_an_object_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"llava\.json: record 0 "):
        build(tmp_path, ["text"])
