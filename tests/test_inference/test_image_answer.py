"""Answers that draw themselves, files of answers, habits from mmdet, addresses and videos; with a tiny LIRA of random weights."""

import base64
import http.server
import io
import json
import pickle
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from support.tiny_model import write_image

from lira_plugin.inference import ImageAnswer, coco_dataset, image_urls
from lira_plugin.inference.det_habits import INSTEAD
from lira_plugin.structures import GroundedSpan, GroundedText
from lira_plugin.visualization import answer_picture, draw_masks

pytestmark = pytest.mark.slow

ASK = "Please segment the cat."


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_image(tmp_path_factory.mktemp("images"), "a cat", 48, 64)


@pytest.fixture(scope="module")
def answer(lira, path):
    return lira(path, ASK, force=True)[0]


def opened(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.array(image)


def test_an_answer_draws_itself(answer, path, tmp_path):
    assert isinstance(answer, GroundedText) and (answer.question, answer.name, answer.size) == (ASK, path, (48, 64))
    image = np.array(Image.open(path))
    assert (answer.image == image).all()
    drawn = answer.plot()
    plain = GroundedText(answer.text, answer.spans, answer.raw_text)
    assert (np.array(drawn) == answer_picture(image, plain, question=ASK)).all()
    assert answer.plot(coarse=True).width > drawn.width
    assert (np.array(answer.overlay()) == draw_masks(image, [answer.spans[0].mask])).all()
    outlined = draw_masks(image, [answer.spans[0].coarse_mask], alpha=0)
    assert (np.array(answer.overlay("coarse", 0)) == outlined).all()
    answer.save(tmp_path / "new" / "a.png")
    answer.save(tmp_path / "b.jpg", coarse=True, max_side=400)
    assert (np.array(Image.open(tmp_path / "new" / "a.png")) == np.array(drawn)).all()
    assert Image.open(tmp_path / "b.jpg").format == "JPEG"
    with pytest.raises(ValueError, match="xyz"):
        answer.save(tmp_path / "a.xyz")


def test_notebooks_show_text_and_picture(answer):
    png = answer._repr_png_()
    assert (opened(png) == np.array(answer.plot())).all()
    html = answer._repr_html_()
    (inline,) = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)">', html)
    with Image.open(io.BytesIO(base64.b64decode(inline))) as image:
        assert image.size == answer.plot().size and image.format == "JPEG"
    assert ">the cat</mark>" in html and ASK in html
    sly = ImageAnswer("<b>", question="<script>")
    assert "<script>" not in sly._repr_html_() and "<b>" not in sly._repr_html_()


def test_threshold_and_copies_keep_the_image(lira, path, answer):
    kept = lira(path, ASK, force=True, return_logits=True)[0].at(0.3)
    assert isinstance(kept, ImageAnswer) and kept.name == path and kept.plot().size == answer.plot().size
    again = pickle.loads(pickle.dumps(answer))
    assert (np.array(again.plot()) == np.array(answer.plot())).all() and again.to_json() == answer.to_json()
    assert repr(answer).startswith("ImageAnswer('the cat', masks: 'the cat' ")


def test_an_image_in_memory_is_kept_and_one_in_a_file_read(lira, path, tmp_path):
    pixels = np.array(Image.open(path))
    for source in (pixels, Image.open(path)):
        [answer] = lira(source, ASK, force=True)
        assert answer.source is source and answer.name == "image 1" and (answer.image == pixels).all()
    Image.open(path).save(tmp_path / "b.png")
    [answer] = lira(tmp_path / "b.png", ASK, force=True)
    assert "<img" in answer._repr_html_()
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png was \(48, 64\).*is \(9, 9\) now"):
        answer.plot()
    (tmp_path / "b.png").unlink()
    with pytest.raises(FileNotFoundError):
        answer.plot()
    assert answer._repr_png_() is None and "img" not in answer._repr_html_() and answer.to_coco()["images"]


def test_a_question_without_an_image_has_nothing_to_draw(lira):
    [answer] = lira(None, "Why?", max_new_tokens=2)
    assert answer.image is None and answer._repr_png_() is None and "Why?" in answer._repr_html_()
    for draw in (answer.plot, answer.overlay, lambda: answer.save("a.png")):
        with pytest.raises(ValueError, match="'Why\\?' came without an image"):
            draw()


def test_results_as_they_come_draw_themselves(lira, path):
    for result in lira.iterate([path] * 2, [ASK, "What is this?"], max_new_tokens=3):
        assert result.answer.question == result.question and result.answer.plot().width > 100


def test_pieces_of_an_answer_draw_themselves(lira, path, answer):
    *_, last = lira.stream(path, ASK, force=True)
    assert (np.array(last.answer.plot()) == np.array(answer.plot())).all()


def test_what_is_shown(lira, answer, monkeypatch):
    """In a notebook IPython displays it; elsewhere it is a window, which needs a display."""
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "agg")
    with pytest.raises(RuntimeError, match=r"no display.*save\('answer\.png'\)"):
        answer.show()
    shown, windows = [], []
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "tkagg")
    monkeypatch.setattr(
        "lira_plugin.inference.drawable.Visualizer.show", lambda self, *args, **kw: windows.append((args, kw))
    )
    answer.show(wait_time=2, coarse=True)
    [((drawn,), settings)] = windows
    assert (drawn == np.array(answer.plot(coarse=True))).all() and settings["wait_time"] == 2
    lira([answer.image] * 2, ASK, force=True, show=True, wait_time=0.5)
    assert [settings["wait_time"] for _, settings in windows] == [2, 0.5, 0.5]
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    display = SimpleNamespace(display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    answer.show()
    assert len(shown) == 1 and shown[0] is answer and len(windows) == 3


def test_attributes_draw_themselves(lira, path, tmp_path):
    reading = lira.attributes(path, "the cat", {"color": ["red", "blue"]})
    reading.save(tmp_path / "a.png", lines=2)
    assert opened(reading._repr_png_()).shape[1] > 300 and Image.open(tmp_path / "a.png").width > 300


def test_answers_about_many_images_are_one_coco_file(lira, path, tmp_path):
    pixels = np.array(Image.open(path))
    answers = lira([path, path, pixels[:30]], [ASK, "Please segment the dog.", ASK], force=True)
    for polygons in (False, True):
        (tmp_path / "coco.json").write_text(json.dumps(coco_dataset(answers, polygons=polygons)))
        coco = COCO(tmp_path / "coco.json")
        assert [(image["file_name"], image["height"]) for image in coco.imgs.values()] == [(path, 48), ("image 3", 30)]
        assert len(coco.anns) == sum(answer.spans[0].mask.any() for answer in answers)
    assert answers[2].to_coco("b.png")["images"][0] == {"id": 1, "file_name": "b.png", "height": 30, "width": 64}
    with pytest.raises(ValueError, match="without a mask the size is unknown"):
        coco_dataset(lira(None, "Why?", max_new_tokens=1))


def test_a_labelme_file_lies_beside_its_image_or_holds_it(lira, answer, path):
    beside = answer.to_labelme()
    assert beside["imagePath"] == path.rsplit("/", 1)[1] and beside["imageData"] is None
    [held] = lira(np.array(Image.open(path)), ASK, force=True)
    assert (opened(base64.b64decode(held.to_labelme()["imageData"])) == held.image).all()


def test_no_pictures_are_written_where_none_are_wanted(lira, path, tmp_path):
    lira(inputs=path, questions=ASK, force=True, out_dir=tmp_path, no_save_vis=True)
    [entry] = json.loads((tmp_path / "predictions.json").read_text())
    assert (
        entry["overlay"] is None
        and list((tmp_path / "masks").iterdir())
        and not list((tmp_path / "overlays").iterdir())
    )


@pytest.mark.parametrize("name", INSTEAD)
def test_habits_from_elsewhere_are_met_or_named(lira, path, name):
    """What asks for nothing special is taken; anything else says what to use."""
    calls = [lira, lira.iterate, lira.stream]
    for call in calls[: 2 if name in ("question", "image") else 3]:
        with pytest.raises(ValueError, match=rf"takes no {name}=.*: {re.escape(INSTEAD[name][1][:20])}"):
            list(call(path, ASK, **{name: np.ones(2) if name == "image" else "other"}))


def test_a_call_as_of_mmdet(lira, path, answer):
    """With the defaults that mmdet's inferencer names."""
    usual = {
        "batch_size": 1,
        "return_vis": False,
        "show": False,
        "wait_time": 0,
        "no_save_vis": False,
        "draw_pred": True,
    }
    usual |= {
        "return_datasamples": False,
        "print_result": False,
        "out_dir": "",
        "texts": None,
        "custom_entities": False,
    }
    [same] = lira(inputs=path, questions=ASK, force=True, **usual)
    assert (same.spans[0].mask == answer.spans[0].mask).all()
    with pytest.raises(ValueError, match="images or inputs.*not both"):
        lira(path, ASK, inputs=path)


def test_frames_of_a_video(lira, path):
    """A list, views of one buffer with swapped colours, or one array."""
    frames = np.stack([np.roll(np.array(Image.open(path)), shift, 1) for shift in (0, 9, 18)])
    one_by_one = [lira(frame, ASK, force=True)[0] for frame in frames]
    for video in (list(frames), frames, [frame[..., ::-1] for frame in frames[..., ::-1].copy()]):
        answers = lira(video, ASK, force=True)
        assert [answer.name for answer in answers] == ["image 1", "image 2", "image 3"]
        for answer, other in zip(answers, one_by_one, strict=True):
            assert (answer.spans[0].mask != other.spans[0].mask).mean() < 0.002


@pytest.fixture
def host(path):
    """A server of images, its address, and what it was asked for."""
    asked = []
    content = Path(path).read_bytes()

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path in ("/moved", "/away"):
                self.send_response(302)
                self.send_header("Location", "/a.png" if self.path == "/moved" else "file:///etc/passwd")
                self.end_headers()
            elif self.path in ("/a.png", "/text"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content if self.path == "/a.png" else b"no image")
            else:
                self.send_error(404)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def online(lira, monkeypatch):
    monkeypatch.setattr(lira, "allow_urls", True)
    return lira


def test_nothing_is_fetched_unless_it_is_allowed(lira, host, tmp_path):
    base, asked = host
    (tmp_path / "q.jsonl").write_text(json.dumps({"image": f"{base}/a.png", "question": "q"}))
    calls = [(f"{base}/a.png", "q"), ([f"{base}/a.png"], "q"), (Path(f"{base}/a.png"), "q"), (f"{base}/q.jsonl", "q")]
    for call in calls:
        with pytest.raises(ValueError, match=r"allow_urls=True\), or lira infer --allow-urls"):
            lira(*call)
    with pytest.raises(ValueError, match="allow_urls"):
        list(lira.stream(f"{base}/a.png", "q"))
    with pytest.raises(ValueError, match="allow_urls"):
        lira.attributes(f"{base}/a.png", "the cat")
    with pytest.raises(FileNotFoundError, match="an address.*allow_urls"):
        lira(tmp_path / "q.jsonl")
    assert not asked


def test_an_image_at_an_address_is_fetched_once(online, host, answer, tmp_path):
    base, asked = host
    answers = online(f"{base}/a.png", [ASK, "Please segment the dog.", ASK], force=True, out_dir=tmp_path)
    assert asked == ["/a.png"]
    assert (answers[0].spans[0].mask == answer.spans[0].mask).all() and answers[0].name == f"{base}/a.png"
    assert (np.array(answers[2].overlay()) == np.array(answer.overlay())).all() and asked == ["/a.png"]
    online(f"{base}/moved", ASK, force=True)
    (tmp_path / "q.jsonl").write_text(json.dumps({"image": f"{base}/a.png", "question": ASK}))
    [other] = online(tmp_path / "q.jsonl", force=True)
    assert (other.spans[0].mask == answer.spans[0].mask).all()
    assert asked[1:] == ["/moved", "/a.png", "/a.png"]


def test_what_cannot_be_fetched_is_named(online, host, monkeypatch):
    base, _ = host
    wrong = {
        f"{base}/none": (OSError, r"/none could not be fetched \(status 404\)"),
        f"{base}/away": (OSError, r"/away could not be fetched \(status 302\)"),
        f"{base}/text": (ValueError, "/text cannot be read as an image"),
        "http://127.0.0.1:1/a.png": (OSError, "could not be fetched"),
        "http://[::1/a.png": (OSError, "could not be fetched"),
        "file:///etc/passwd": (ValueError, "neither an http"),
        "ftp://host/a.png": (ValueError, "neither an http"),
    }
    for url, (error, message) in wrong.items():
        with pytest.raises(error, match=message):
            online(url, "q")
    monkeypatch.setattr(image_urls, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="more than 1e-05 megabytes"):
        online(f"{base}/a.png", "q")
    [good, bad] = sorted(
        online.iterate([np.zeros((9, 9, 3), np.uint8), f"{base}/none"], "q", keep_going=True, max_new_tokens=1),
        key=lambda result: result.index,
    )
    assert not good.error and "status 404" in bad.error


def test_a_slow_host_is_given_up(monkeypatch):
    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            for _ in range(50):
                self.wfile.write(b"x")
                self.wfile.flush()
                done.wait(0.02)

        def log_message(self, *arguments):
            pass

    done = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(image_urls, "MAX_SECONDS", 0.1)
    with pytest.raises(OSError, match="TimeoutError"):
        image_urls.fetch_image(f"http://127.0.0.1:{server.server_address[1]}/a")
    done.set()
    server.shutdown()
    server.server_close()


def test_spans_of_a_plain_text_draw_with_an_image():
    mask = np.zeros((30, 40), bool)
    mask[5:20, 5:20] = True
    said = GroundedText("A dog.", (GroundedSpan(2, 5, "dog", mask),), seg_prob=0.5)
    image = np.zeros((30, 40, 3), np.uint8)
    answer = ImageAnswer.of(said, "What?", "frame", image, (30, 40))
    assert answer.to_json() == said.to_json() and np.array(answer.overlay()).any()
