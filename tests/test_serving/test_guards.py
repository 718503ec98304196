"""Who may ask, how much may be sent, and what is written into the log."""

import json
import logging

import pytest
from mmengine.logging import MMLogger
from support.serving import CHAT, message, serving, wait_for

from lira_plugin.serving.limits import Limits
from lira_plugin.serving.model_thread import State


@pytest.fixture(scope="module")
def guarded(lira):
    """A server with tokens and small limits."""
    limits = Limits(body_bytes=30_000, image_bytes=5000, pixels=4000, prompt_tokens=60, new_tokens=24)
    with serving(lambda: lira, tokens=("first", "second"), limits=limits, allow_hosts=("lira.example",)) as (client, _):
        client.headers["Authorization"] = "Bearer second"
        yield client


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer firs", "Bearer first second", "Basic first", "first"]
)
def test_a_token_is_asked_for(guarded, given):
    headers = {"Authorization": given or ""}
    for method, path in [("GET", "/v1/models"), ("POST", CHAT), ("GET", "/metrics"), ("GET", "/nothing")]:
        reply = guarded.request(method, path, headers=headers)
        assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
        assert reply.json()["error"]["type"] == "authentication_error"
    assert guarded.get("/healthz", headers=headers).status_code == 200, "probes have none"


def test_two_headers_are_no_token(guarded):
    headers = [("Authorization", "Bearer first"), ("Authorization", "Bearer first")]
    assert guarded.get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("given", ["Bearer first", "bearer second", "Bearer  first"])
def test_a_known_token_lets_in(guarded, given):
    assert guarded.get("/v1/models", headers={"Authorization": given}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "lira.example"}, 200),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "localhost:9000"}, 403),
        ({"Host": "lira.example", "X-Forwarded-Host": "attacker.example"}, 200),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_and_names_of_others(guarded, headers, status):
    reply = guarded.get("/v1/models", headers=headers)
    assert reply.status_code == status
    if status == 403:
        assert "server" in reply.json()["error"]["message"]


def test_a_large_body_is_not_read(guarded):
    reply = guarded.post(CHAT, content=b"x" * 30_001)
    assert reply.status_code == 413 and "megabytes" in reply.json()["error"]["message"]

    def without_length():
        for _ in range(40):
            yield b"x" * 1000

    assert guarded.post(CHAT, content=without_length()).status_code == 413
    assert guarded.post(CHAT, content=b"{}", headers={"Content-Length": "one"}).status_code in (400, 413)


def test_limits_of_images_and_prompts(guarded, photos):
    big = "data:image/png;base64," + "A" * 8000
    reply = guarded.post(CHAT, json={"messages": [message("Hi", big)]})
    assert reply.status_code == 413 and reply.json()["error"]["code"] == "image_too_large"
    reply = guarded.post(CHAT, json={"messages": [message("x" * 200, photos[2][1])]})
    assert reply.status_code == 400 and reply.json()["error"]["code"] == "context_length_exceeded"


def test_each_request_has_an_id_and_no_text_of_users_is_logged(guarded, photos):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        reply = guarded.post(CHAT, json={"messages": [message("hush", photos[2][1])], "max_tokens": 2})
        again = guarded.post(CHAT, json={"messages": [message("hush", photos[2][1])], "hush": 2})
    finally:
        logger.removeHandler(handler)
    assert reply.status_code == 200 and again.status_code == 400
    first, second = reply.headers["x-request-id"], again.headers["x-request-id"]
    assert first != second and reply.json()["id"] == f"chatcmpl-{first}"
    assert [line.split()[:3] for line in lines] == [[first, CHAT, "200"], [second, CHAT, "400"]]
    assert not any("hush" in line or "second" in line for line in lines)


def test_text_is_logged_where_it_was_asked_for(lira, photos):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    with serving(lambda: lira, log_text=True) as (client, _):
        logger = MMLogger.get_current_instance()
        logger.addHandler(handler)
        try:
            reply = client.post(CHAT, json={"messages": [message("a question", photos[2][1])], "max_tokens": 2})
        finally:
            logger.removeHandler(handler)
    assert f"{reply.headers['x-request-id']} 'a question'" in lines


def test_a_model_that_does_not_load_says_so_and_is_tried_again(lira, monkeypatch):
    monkeypatch.setattr("lira_plugin.serving.model_thread._FIRST_PAUSE", 0.3)
    tries = []

    def load():
        tries.append(len(tries))
        if len(tries) < 3:
            raise FileNotFoundError("/secret/path/weights.pth")
        return lira

    with serving(load) as (client, model):
        wait_for(lambda: model.health.state is State.FAILED)
        reply = client.get("/healthz")
        assert reply.status_code == 503 and reply.json()["status"] == "failed"
        assert "FileNotFoundError" in reply.json()["last_problem"] and "secret" not in reply.text
        refused = client.post(CHAT, json={"messages": [message("Hi")]})
        assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
        wait_for(lambda: model.health.state is State.READY)
        assert len(tries) == 3 and client.get("/healthz").status_code == 200
        assert client.post(CHAT, json={"messages": [message("Hi")], "max_tokens": 1}).status_code == 200


def test_an_error_of_the_server_shows_nothing(lira, photos, monkeypatch):
    def broken(*arguments):
        raise KeyError("a secret")

    monkeypatch.setattr("lira_plugin.serving.service.read_request", broken)
    with serving(lambda: lira) as (client, _):
        reply = client.post(CHAT, json={"messages": [message("Hi", photos[2][1])]})
    assert reply.status_code == 500 and "secret" not in reply.text and "service.py" not in reply.text
    assert json.loads(reply.text)["error"]["type"] == "server_error"
