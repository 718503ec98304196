"""The unmodified ``openai`` client, over a real socket."""

import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from support.serving import QUESTIONS, message, same_masks, wait_for

from lira_plugin.serving.model_thread import ModelThread, State
from lira_plugin.serving.service import ServerSettings, make_app

httpx = pytest.importorskip("httpx")
openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow


@contextmanager
def listening(load, **settings):
    """A server at a port, and the thread of its model; it ends as after SIGTERM."""
    model = ModelThread(load, batch_size=4)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app = make_app(model, ServerSettings(name="tiny", port=port, tokens=("key",), **settings))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=20))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started and model.health.state is State.READY)
    try:
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="key", max_retries=0), model, server
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def reached(lira):
    with listening(lambda: lira) as (client, model, _):
        yield client, model


def test_an_answer_with_its_masks(reached, lira, photos):
    client, _ = reached
    (expected,) = lira(str(photos[0][0]), QUESTIONS[1])
    reply = client.chat.completions.create(model="tiny", messages=[message(QUESTIONS[1], photos[2][0])])
    (choice,) = reply.choices
    assert choice.message.content == expected.text and choice.message.role == "assistant"
    same_masks(choice.message.grounding, expected, photos[1][0].shape[:2])
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_a_chat_with_the_clients_own_messages(reached, lira, photos):
    client, _ = reached
    first = message(QUESTIONS[0], photos[2][0])
    reply = client.chat.completions.create(model="tiny", messages=[first])
    asked = [first, reply.choices[0].message, {"role": "user", "content": "And then?"}]
    (earlier,) = lira(str(photos[0][0]), QUESTIONS[0])
    (expected,) = lira(str(photos[0][0]), "And then?", history=[(QUESTIONS[0], earlier)])
    assert client.chat.completions.create(model="tiny", messages=asked).choices[0].message.content == expected.text


def test_a_stream(reached, lira, photos):
    client, _ = reached
    (expected,) = lira(str(photos[0][1]), QUESTIONS[1], do_sample=True, temperature=0.5, seed=4)
    asked = {"temperature": 0.5, "seed": 4, "stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model="tiny", messages=[message(QUESTIONS[1], photos[2][1])], **asked))
    usage = chunks.pop().usage
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected.text
    spans = {}
    for chunk in chunks:
        spans |= {span["index"]: span for span in getattr(chunk.choices[0].delta, "grounding", None) or ()}
    same_masks([spans[index] for index in sorted(spans)], expected, photos[1][1].shape[:2])
    assert chunks[-1].choices[0].finish_reason and usage.completion_tokens > 0


def test_a_stream_that_is_broken_off_frees_its_slot(reached, photos):
    client, model = reached
    stream = client.chat.completions.create(
        model="tiny", messages=[message(QUESTIONS[1], photos[2][1])], stream=True, max_tokens=1000,
        extra_body={"ilvc": False, "repetition_penalty": 1.0}, temperature=2,
    )  # fmt: skip
    next(iter(stream))
    wait_for(lambda: model.num_running == 1)
    stream.close()
    wait_for(lambda: model.num_running == 0, seconds=5)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"model": "gpt"}, openai.NotFoundError),
        ({"temperature": 9}, openai.BadRequestError),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError),
    ],
)
def test_errors_are_those_of_the_client(reached, photos, settings, error):
    with pytest.raises(error) as raised:
        reached[0].chat.completions.create(**{"model": "tiny", "messages": [message("Hi", photos[2][0])], **settings})
    assert raised.value.message and raised.value.request_id


def test_a_wrong_key(reached):
    with pytest.raises(openai.AuthenticationError):
        reached[0].with_options(api_key="wrong").models.list()


def test_an_answer_that_is_being_written_is_finished_when_the_server_ends(lira, photos):
    with listening(lambda: lira) as (client, model, server):
        stream = client.chat.completions.create(
            model="tiny", messages=[message(QUESTIONS[1], photos[2][1])], stream=True, max_tokens=60, temperature=1.5
        )
        chunks = iter(stream)
        next(chunks)
        wait_for(lambda: model.num_running == 1)
        server.should_exit = True
        rest = list(chunks)
        assert rest[-1].choices[0].finish_reason
        time.sleep(0.3)
        with pytest.raises(openai.APIConnectionError):
            client.models.list()


def test_an_image_of_an_allowed_host_is_fetched(reached, lira, photos, tmp_path):
    """Beside the server runs a host of images; another port of it is not allowed, and it leads nowhere else."""
    import http.server

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/a.png")
                self.end_headers()
            elif self.path == "/a.png":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(photos[0][0].read_bytes())
            else:
                self.send_error(404)

        def log_message(self, *arguments):
            pass

    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=host.serve_forever, daemon=True).start()
    own, base = host.server_address[1], f"http://127.0.0.1:{host.server_address[1]}"
    try:
        with listening(lambda: lira, allow_image_hosts=[f"127.0.0.1:{own}"]) as (client, _, _):

            def segment(url):
                body, headers = {"image": url, "phrases": ["dog"]}, {"Authorization": "Bearer key"}
                reply = httpx.post(f"{client.base_url}segment", json=body, headers=headers)
                return reply.json().get("size")

            assert segment(f"{base}/a.png") == list(np.shape(photos[1][0])[:2])
            for wrong in (
                f"{base}/elsewhere",
                f"{base}/none",
                "http://127.0.0.1:1/a.png",
                f"http://u@127.0.0.1:{own}/a.png",
            ):
                assert segment(wrong) is None, wrong
    finally:
        host.shutdown()
