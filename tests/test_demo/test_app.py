"""What the page does with a visitor's doings, and what its server gives out; the browser has tests of its own (test_page.py)."""

import asyncio
import json
import socket
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
from support.tiny_model import write_image

pytestmark = pytest.mark.slow

gradio = pytest.importorskip("gradio", reason="needs gradio: uv sync --extra demo")

HEIGHT, WIDTH = 60, 80


@pytest.fixture
def demo(lira, tmp_path):
    from lira_plugin.demo.app import Demo

    return Demo(lira, tmp_path / "given", max_pixels=100_000)


@pytest.fixture
def image(tmp_path):
    (tmp_path / "given").mkdir()
    return write_image(tmp_path, "scene", HEIGHT, WIDTH)


def last(demo, chat, question):
    *_, news = demo.ask(question, chat, True, "refined", 0.5)
    return news[0]


def test_from_opening_to_the_downloads(demo, image):
    chat, conversation, picture, _ = demo.open(image)
    assert conversation == "" and picture.shape[2] == 3
    news = list(demo.ask(" Please segment the cat. ", chat, True, "refined", 0.5))
    assert len(news) > 2 and "Please segment the cat." in news[0][1]
    chat = news[-1][0]
    while not any(answer.spans for _, answer in chat.turns):  # of random weights
        chat = last(demo, chat, "Describe the image.")
    assert (demo.draw(chat, None, "refined", 0.01) != picture).any()
    with zipfile.ZipFile(demo.save_zip(chat, "coarse", 0.5)["value"]) as archive:
        assert len(archive.namelist()) == sum(len(answer.spans) for _, answer in chat.turns)
    with open(demo.save_json(chat, 0.5)["value"]) as file:
        assert json.load(file)["size"] == [HEIGHT, WIDTH]


def test_an_answer_is_chosen_by_the_start_of_its_question(demo, image):
    from lira_plugin.demo.app import _choice_of_answers

    chat, *_ = demo.open(image)
    for question in (
        "Please segment the cat.",
        "Could you please give me a detailed description of the image? Please.",
    ):
        chat = last(demo, chat, question)
    shown = _choice_of_answers(chat)
    titles = ["1: Please segment the cat.", "2: Could you please give me a detailed description of the …"]
    assert shown["choices"] == [(title, number) for number, title in enumerate(titles)] and shown["value"] == 1
    assert _choice_of_answers(None)["choices"] == []


def test_a_question_that_does_not_fit_leaves_the_chat_as_it_was(demo, image):
    chat, *_ = demo.open(image)
    asked = demo.ask("cat " * 5000, chat, True, "refined", 0.5)
    shown = next(asked)
    assert len(shown[0].turns) == 1
    shown = next(asked)
    assert shown[0] is chat and shown[1] == chat.to_html() and shown[4].startswith("cat cat")
    np.testing.assert_array_equal(shown[2], chat.picture())
    with pytest.raises(gradio.Error, match="ask without the earlier turns"):
        next(asked)


def test_what_cannot_be_done_is_said(demo, image, tmp_path):
    chat, *_ = demo.open(image)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(gradio.Error, match="cannot be read as an image"):
        demo.open(str(tmp_path / "text.png"))
    for question, of, message in (("What?", None, "Upload an image"), (" ", chat, "Write a question")):
        with pytest.raises(gradio.Error, match=message):
            next(demo.ask(question, of, True, "refined", 0.5))
    with pytest.raises(gradio.Error, match="no masks yet"):
        demo.save_zip(chat, "refined", 0.5)


def test_the_server_gives_the_page_and_no_other_file(demo, image, tmp_path):
    from lira_plugin.demo.app import build, launch

    (tmp_path / "secret.txt").write_text("secret")
    page = build(demo)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = launch(page, "127.0.0.1", port, 100_000)
    try:
        with urllib.request.urlopen(address) as answer:
            assert b"gradio" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}gradio_api/file={tmp_path / 'secret.txt'}")
        assert refused.value.code in (403, 404)
    finally:
        page.close()


def test_an_address_in_the_place_of_an_upload_is_not_fetched(demo, image, monkeypatch):
    from gradio import processing_utils
    from gradio.state_holder import SessionState

    from lira_plugin.demo.app import build

    async def download(url, cache_dir):
        raise AssertionError(f"{url} is downloaded")

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", download)
    page = build(demo)
    given = {"path": "https://example.com/large.png", "meta": {"_type": "gradio.FileData"}}
    tried = 0
    for function in page.fns.values():
        for place in range(len(function.inputs)):
            values = [given if place == number else None for number in range(len(function.inputs))]
            if not isinstance(function.inputs[place], gradio.State):
                with pytest.raises(gradio.Error, match="fetches none"):
                    asyncio.run(page.preprocess_data(function, values, SessionState(page)))
                tried += 1
    assert tried > 5
