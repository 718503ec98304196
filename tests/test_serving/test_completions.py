"""Answers of the server, against those of the inferencer."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.serving import CHAT, QUESTIONS, message, same_masks

from lira_plugin.serving.mask_formats import read_mask
from lira_plugin.structures import decode_segmentation


def ask(client, *messages, **settings):
    reply = client.post(CHAT, json={"model": "tiny", "messages": list(messages), **settings})
    assert reply.status_code == 200, reply.text
    return reply.json()


def chunks_of(client, *messages, **settings):
    reply = client.post(CHAT, json={"messages": list(messages), "stream": True, **settings})
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line and not line.startswith(":")]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def test_answers_of_many_at_once_are_those_of_the_inferencer(client, lira, photos):
    paths, pixels, urls = photos
    asked = [(index, question) for index in range(3) for question in QUESTIONS]
    images, questions = [paths[index] for index, _ in asked], [question for _, question in asked]
    expected = lira([str(path) for path in images], questions)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda one: ask(client, message(one[1], urls[one[0]])), asked))
    assert any(answer.spans for answer in expected)
    for (index, _), reply, answer in zip(asked, replies, expected):
        (choice,) = reply["choices"]
        assert choice["message"]["content"] == answer.text and choice["message"]["role"] == "assistant"
        assert choice["finish_reason"] == ("stop" if answer.finished else "length")
        same_masks(choice["message"]["grounding"], answer, pixels[index].shape[:2])
        assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]
        assert 0 < reply["usage"]["completion_tokens"] <= 24


def test_an_image_is_encoded_once_for_all_of_its_questions(served, photos):
    client, model = served
    model.encoder.cache.clear()
    before = model.encoder.cache.misses
    for question in QUESTIONS:
        ask(client, message(question, photos[2][0]), max_tokens=1)
    assert model.encoder.cache.misses == before + 1 and len(model.encoder.cache) == 1


def test_a_question_without_an_image(client, lira):
    reply = ask(client, {"role": "user", "content": "What is red?"})
    assert reply["choices"][0]["message"]["content"] == lira(None, "What is red?")[0].text


@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_a_stream_adds_up_to_the_answer(client, lira, photos, question):
    asked = message(question, photos[2][0])
    whole = ask(client, asked)["choices"][0]["message"]
    first, *chunks = chunks_of(client, asked, stream_options={"include_usage": True})
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    usage = chunks.pop()
    assert usage["choices"] == [] and usage["usage"] == ask(client, asked)["usage"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["content"]
    assert len([delta for delta in deltas if delta.get("content") or delta.get("grounding")]) > 1, "it came in pieces"
    told = [span for delta in deltas for span in delta.get("grounding", [])]
    last = {span["index"]: span for span in told}
    (answer,) = lira(str(photos[0][0]), question)
    for grounding in ([last[index] for index in sorted(last)], whole["grounding"]):
        same_masks(grounding, answer, photos[1][0].shape[:2])
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][:-1] == [None] * (len(chunks) - 1)
    assert len({chunk["id"] for chunk in chunks}) == 1 and chunks[0]["object"] == "chat.completion.chunk"


@pytest.mark.parametrize("mask_format", ["rle", "polygons", "png"])
def test_a_chat_goes_on_as_the_inferencers_does(client, lira, photos, mask_format):
    """What the server has answered goes back to it unchanged, masks included."""
    path, url = str(photos[0][1]), photos[2][1]
    answers = lira([path] * 4, QUESTIONS)
    index = next(index for index, answer in enumerate(answers) if any(span.end > span.start for span in answer.spans))
    first, earlier = message(QUESTIONS[index], url), answers[index]
    reply = ask(client, first, mask_format=mask_format)["choices"][0]["message"]
    assert reply["content"] == earlier.text
    going_on = ask(client, first, reply, {"role": "user", "content": "And then?"})["choices"][0]["message"]
    (expected,) = lira(path, "And then?", history=[(QUESTIONS[index], earlier)])
    if mask_format != "polygons":  # which fill holes
        assert going_on["content"] == expected.text
    forgotten = {**reply, "grounding": None}
    other = ask(client, first, forgotten, {"role": "user", "content": "And then?"})["choices"][0]["message"]
    assert other["content"] != expected.text, "the masks of the history are looked at"


@pytest.mark.parametrize("mask_format", ["rle", "png"])
def test_masks_in_all_formats_are_the_same(client, photos, mask_format):
    asked, size = message(QUESTIONS[0], photos[2][2]), photos[1][2].shape[:2]
    plain = ask(client, asked, force=True)["choices"][0]["message"]["grounding"]
    written = ask(client, asked, force=True, mask_format=mask_format)["choices"][0]["message"]["grounding"]
    for one, other in zip(plain, written, strict=True):
        mask = decode_segmentation(one["mask"], *size)
        assert (read_mask(other["mask"], *size, 10**6) == mask).all()
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if mask.any() else None
        assert other["box"] == box


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        ({"temperature": 0}, {}),
        (
            {"temperature": 0.7, "seed": 3, "top_p": 0.9},
            {"do_sample": True, "temperature": 0.7, "seed": 3, "top_p": 0.9},
        ),
        ({"temperature": 1, "seed": 5, "top_k": 9}, {"do_sample": True, "seed": 5, "top_k": 9}),
        ({"max_tokens": 5}, {"max_new_tokens": 5}),
        ({"max_completion_tokens": 7, "max_tokens": None}, {"max_new_tokens": 7}),
        ({"repetition_penalty": 1.0, "n": 1, "presence_penalty": 0.0}, {"repetition_penalty": 1.0}),
        ({"ilvc": False, "threshold": 0.3}, {"ilvc": False, "threshold": 0.3}),
        ({"user": "me", "stop": ["a", "e"]}, {"stop_strings": ["a", "e"]}),
    ],
)
def test_settings_by_their_openai_names(client, lira, photos, settings, own):
    (expected,) = lira(str(photos[0][0]), "Describe the image.", **own)
    choice = ask(client, message("Describe the image.", photos[2][0]), **settings)["choices"][0]
    assert choice["message"]["content"] == expected.text
    assert choice["finish_reason"] == ("stop" if expected.finished else "length")
    same_masks(choice["message"]["grounding"], expected, photos[1][0].shape[:2])


def test_segment_gives_a_mask_for_each_phrase(client, lira, photos):
    phrases = ["red circle", "the Big Square", "dog"]
    reply = client.post("/v1/segment", json={"image": photos[2][0], "phrases": phrases}).json()
    expected = lira(str(photos[0][0]), [f"Please segment {phrase}." for phrase in phrases], force=True)
    assert reply["size"] == [48, 64] and [one["phrase"] for one in reply["segments"]] == phrases
    for one, answer in zip(reply["segments"], expected, strict=True):
        assert len(one["grounding"]) == 1
        same_masks(one["grounding"], answer, (48, 64))


def test_a_turned_photograph_is_answered_upright(client, photos):
    """As every reader of the package does, the server applies the orientation that a camera has written."""
    import base64
    import io

    from PIL import Image

    image = Image.fromarray(photos[1][0])
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif.tobytes())
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    assert client.post("/v1/segment", json={"image": url, "phrases": ["dog"]}).json()["size"] == [64, 48]


def test_the_model_is_listed(client):
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny"]


def test_health_and_metrics(served, photos):
    client, _ = served
    ask(client, message("Hi", photos[2][0]), max_tokens=2)
    health = client.get("/healthz")
    assert health.status_code == 200 and health.json()["status"] == "ok" and health.json()["running"] == 0
    text = client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['lira_requests_total{route="/v1/chat/completions",status="200"}']) > 0
    assert float(values['lira_tokens_total{kind="completion"}']) > 0 and float(values["lira_up"]) == 1
    assert float(values["lira_time_to_first_token_seconds_count"]) > 0
