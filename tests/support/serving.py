"""A server in this process, and what its clients send."""

import base64
import io
import time
from contextlib import contextmanager

from PIL import Image
from starlette.testclient import TestClient

from lira_plugin.serving.model_thread import ModelThread, State
from lira_plugin.serving.service import ServerSettings, make_app
from lira_plugin.structures import decode_segmentation

CHAT = "/v1/chat/completions"
QUESTIONS = ["Please segment red circle.", "Describe the image.", "What is this?", "Is it green?"]


def message(text, url=None):
    image = [{"type": "image_url", "image_url": {"url": url}}] if url else []
    return {"role": "user", "content": [{"type": "text", "text": text}, *image]}


def same_masks(grounding, answer, size):
    """Masks of the server are those of a grounded text, up to what rounding of another batch does to random weights."""
    assert [(one["start"], one["end"], one["phrase"]) for one in grounding] == [
        (span.start, span.end, span.phrase) for span in answer.spans
    ]
    for one, span in zip(grounding, answer.spans):
        for written, mask in ((one["mask"], span.mask), (one["coarse_mask"], span.coarse_mask)):
            assert (written is None) == (mask is None)
            if mask is not None:
                assert (decode_segmentation(written, *size) != mask).mean() < 0.01
        assert abs(one["score"] - span.score) < 1e-3 and one["refined"] == span.refined


def data_url(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@contextmanager
def serving(load, batch_size=None, max_waiting=64, cache_bytes=10**8, **settings):
    """A client of a server whose model is there, and the thread of the model."""
    model = ModelThread(load, max_waiting, cache_bytes, batch_size)
    app = make_app(model, ServerSettings(**{"name": "tiny", "drain_seconds": 5.0, **settings}))
    with TestClient(app, base_url="http://localhost:8000", client=("127.0.0.1", 5)) as client:
        wait_for(lambda: model.health.state is not State.LOADING)
        yield client, model


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)
