"""Requests that are refused, each with an error that OpenAI's clients read."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from support.serving import CHAT, message

from lira_plugin.serving.limits import Limits

TINY_PNG = (
    "data:image/png;base64,"
    + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
SECRET = "a secret of the server"


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret") / "secret.png"
    path.write_text(SECRET)
    return path


def refused(client, body, status=400, route=CHAT):
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    reply = client.post(route, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["message"] and set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in reply.text and ".py" not in reply.text and SECRET not in reply.text
    return error["message"]


def chat(*messages, **settings):
    return {"messages": list(messages) or [message("Hi", TINY_PNG)], **settings}


def user(content):
    return {"role": "user", "content": content}


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


RLE = {"size": [1, 1], "counts": "01"}


def answered(text="It is red.", **grounding):
    entry = {"start": 0, "end": 2, "mask": RLE, **grounding}
    return chat(message("Hi", TINY_PNG), {"role": "assistant", "content": text, "grounding": [entry]}, user("And?"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "object"),
        (b'{"messages": NaN}', "NaN"),
        (b"[" * 100_000, "nested"),
        (b'{"messages":' * 100_000, "nested"),
        ({}, "messages"),
        (chat(user("")), "text"),
        ({"messages": []}, "messages"),
        (chat(user(None)), "text"),
        (chat(user([image(TINY_PNG)])), "text"),
        (chat(user(5)), "messages"),
        (chat({"role": "robot", "content": "Hi"}), "role"),
        (chat({"role": "system", "content": "Be brief."}, user("Hi")), "system"),
        (chat(user("Hi"), user("there")), "turns"),
        (chat(user("Hi"), {"role": "assistant", "content": "Yes."}), "last"),
        (chat({"role": "assistant", "content": "Yes."}, user("Hi")), "turns"),
        (chat(user("half \ud800")), "surrogate"),
        (chat(user("x" * 40_000)), "characters"),
        (chat(*[user("Hi")] * 100), "messages"),
        (chat(user([{"type": "text", "text": "Hi"}, image(TINY_PNG), image(TINY_PNG[:-8] + "AAAAAAAA")])), "one image"),
        (chat(user([{"type": "text", "text": "Hi", "image_url": {"url": TINY_PNG}}])), "nothing else"),
        (chat(user([{"type": "input_audio", "input_audio": {}}])), "type"),
        (chat(user("Hi"), {"role": "assistant", "content": [image(TINY_PNG)]}, user("Hi")), "text"),
        (chat(user("Hi"), {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, user("Hi")), "tool_calls"),
        (chat({**user("Hi"), "grounding": [{"start": 0, "end": 1, "mask": RLE}]}), "assistant"),
        (answered(start=-1), "piece"),
        (answered(end=99), "piece"),
        (answered(start="0"), "start"),
        (answered(mask={"size": [2, 2], "counts": "04"}), "the mask is 2x2"),
        (answered(mask={"size": [1, 1], "counts": "\u4eba"}), "runs"),
        (answered(mask={"size": [10**9, 10**9], "counts": [10**18]}), "the mask is 1000000000x"),
        (answered(mask=[[0, 0, "a"]]), "polygon"),
        (answered(mask="data:image/png;base64,AAAA"), "image"),
        (answered(mask="/etc/passwd"), "PNG"),
        (answered(mask=7), "RLE"),
        ({"messages": [user("Hi"), *answered()["messages"][1:]]}, "no image"),
        (chat(n=2), "n"),
        (chat(temperature=-1), "temperature"),
        (chat(temperature="1"), "temperature"),
        (chat(temperature=True), "temperature"),
        (chat(top_p=0), "top_p"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(max_tokens=10**6), "tokens"),
        (chat(max_tokens=10**30), "max_tokens"),
        (chat(seed=2**70), "seed"),
        (chat(stop=[""]), "stop"),
        (chat(stop=["x"] * 100), "stop"),
        (chat(stop="x" * 1000), "stop"),
        (chat(threshold=0), "threshold"),
        (chat(threshold=2), "threshold"),
        (chat(stream="yes"), "stream"),
        (chat(tools=[{"type": "function"}]), "tools"),
        (chat(response_format={"type": "json_object"}), "response_format"),
        (chat(logprobs=True), "logprobs"),
        (chat(frequency_penalty=0.5), "frequency_penalty"),
        (chat(mask_format="svg"), "mask_format"),
        (chat(force=True), "force"),
        (chat(user("Please segment dog."), force=True), "image"),
        (chat(message("Hi", "file:///etc/passwd")), "data URL"),
        (chat(message("Hi", "/etc/passwd")), "data URL"),
        (chat(user([{"type": "text", "text": "Hi"}, image("")])), "data URL"),
        (chat(message("Hi", "ftp://host/a.png")), "data URL"),
        (chat(message("Hi", "http://127.0.0.1:1/a.png")), "fetches"),
        (chat(message("Hi", "http://[::1/a.png")), "read"),
        (chat(message("Hi", "https://images.example:99999/a.png")), "read"),
        (chat(message("Hi", "data:text/html;base64,AAAA")), "data:image"),
        (chat(message("Hi", "data:image/png,AAAA")), "data:image"),
        (chat(message("Hi", "data:image/png;base64,####")), "base64"),
        (chat(message("Hi", "data:image/png;base64,AAAA")), "image"),
        (chat(message("Hi", TINY_PNG[:60])), "image|base64"),
        (chat(message("Hi", "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode())), "image"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(client, body, said):
    words = refused(client, body)
    assert any(word in words for word in said.split("|")), words


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "image"),
        ({"image": TINY_PNG}, "phrases"),
        ({"image": TINY_PNG, "phrases": []}, "phrases"),
        ({"image": TINY_PNG, "phrases": [""]}, "phrases"),
        ({"image": TINY_PNG, "phrases": [" . "]}, "name"),
        ({"image": TINY_PNG, "phrases": ["\udc00"]}, "phrases"),
        ({"image": TINY_PNG, "phrases": ["dog"] * 65}, "phrases"),
        ({"image": TINY_PNG, "phrases": "dog"}, "phrases"),
        ({"image": TINY_PNG, "phrases": ["dog"], "temperature": 1}, "temperature"),
        ({"image": "/etc/passwd", "phrases": ["dog"]}, "data URL"),
    ],
)
def test_what_cannot_be_segmented(client, body, said):
    assert said in refused(client, body, route="/v1/segment")


def test_another_model_is_not_there(client):
    assert "'gpt'" in refused(client, chat(model="gpt"), 404)


def test_pages_that_there_are_not(client):
    for method, path in [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/../etc"),
        ("GET", CHAT),
    ]:
        reply = client.request(method, path)
        assert reply.status_code in (404, 405) and reply.json()["error"]["message"]


def test_no_file_of_the_server_is_read(client, secret):
    for url in (str(secret), f"file://{secret}", f"FILE:{secret}", f"data:{secret}", f"local_file://{secret}"):
        refused(client, chat(message("Hi", url)))
        refused(client, {"image": url, "phrases": ["dog"]}, route="/v1/segment")


@pytest.mark.parametrize("kind", ["EPS", "PDF", "TIFF", "PPM", "ICO"])
def test_formats_that_are_seldom_looked_after(client, kind):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, kind)
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    assert "image" in refused(client, chat(message("Hi", url)))


def test_a_header_that_promises_many_pixels_is_refused_before_they_are_decoded(client):
    buffer = io.BytesIO()
    Image.new("1", (30_000, 5000)).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    assert "megapixels" in refused(client, chat(message("Hi", url)))


def test_the_server_still_answers(served):
    client, model = served
    assert client.post(CHAT, json=chat(max_tokens=1)).status_code == 200
    assert not model.num_running and not len(model.queue) and not model.restarts


def test_limits_are_positive():
    with pytest.raises(ValueError, match="pixels"):
        Limits(pixels=0)
    with pytest.raises(TypeError, match="seconds"):
        Limits(seconds="1")
