"""The page in headless Chromium: upload, ask, look, choose a threshold, download."""

import io
import json
import os
import re
import shutil
import socket
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support.tiny_model import write_image

pytestmark = pytest.mark.browser
gradio = pytest.importorskip("gradio", reason="needs gradio: uv sync --extra demo")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

HEIGHT, WIDTH = 60, 80
MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def address(lira, tmp_path_factory):
    """The demo with a tiny model of random weights, on a free port."""
    from lira_plugin.demo.app import Demo, build, launch
    from lira_plugin.demo.chat import Example

    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        page = build(Demo(lira, folder, 100_000, [Example("the noise", image, "Please segment the noise.")]))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        yield launch(page, "127.0.0.1", port, MAX_BYTES)
        page.close()


@pytest.fixture(scope="module")
def browser():
    """Chromium: the one that LIRA_CHROMIUM names, the system's, or playwright's."""
    names = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
    path = os.environ.get("LIRA_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium: install it, run `playwright install chromium`, or set LIRA_CHROMIUM")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open the page as a new visitor; the hosts of all that it asks for are in ``page.hosts``."""

    def visit():
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        pages.append(page)
        page.set_default_timeout(30_000)
        page.hosts, page.errors, page.refused = set(), [], []
        page.on("request", lambda request: page.hosts.add(urlsplit(request.url).hostname))
        page.on("response", lambda response: response.status >= 400 and page.refused.append(response.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(address)
        return page

    pages = []
    yield visit
    for page in pages:
        page.close()


@pytest.fixture
def page(visit):
    return visit()


def picture(page):
    """The picture that is shown, (H, W, 3) uint8."""
    source = page.locator("#picture img").get_attribute("src")
    return np.array(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"))


def upload(page, path):
    page.locator("#image input[type=file]").set_input_files(path)


def begin(page, path):
    """Upload an image and wait until it can be asked about; give the picture."""
    upload(page, path)
    page.locator("#picture img").wait_for()
    return picture(page)


def ask(page, question):
    """Ask, and wait until the answer is there."""
    count = page.locator("#conversation .answer").count()
    page.locator("#question textarea").fill(question)
    page.locator("#ask").click()
    playwright.expect(page.locator("#conversation .answer")).to_have_count(count + 1, timeout=30_000)
    playwright.expect(page.locator("#stop")).to_be_disabled(timeout=30_000)


def wait_for_another(page, shown):
    """Wait until a picture other than ``shown`` is there, and give it."""
    for _ in range(100):
        if (now := picture(page)).shape != shown.shape or (now != shown).any():
            return now
        page.wait_for_timeout(100)
    raise AssertionError("the picture does not change")


def choose_threshold(page, value):
    page.locator("#threshold input[type=number]").fill(str(value))
    page.locator("#threshold input[type=number]").press("Enter")
    page.locator("#threshold input[type=number]").blur()


FILES = {"zip": "masks.zip", "json": "answers.json", "coco": "coco.json", "picture": "picture.png"}


def download(page, button):
    """What a button gives."""
    page.locator(button).click()
    link = page.locator(f'#file a[download="{FILES[button.removeprefix("#save-")]}"]').first
    with page.expect_download() as given:
        link.click()
    return Path(given.value.path()).read_bytes()


def test_from_upload_to_download(page, tmp_path):
    plain = begin(page, write_image(tmp_path, "blocks", HEIGHT, WIDTH))
    ask(page, "Please segment the <b>cat</b>.")
    marks = page.locator("#conversation mark")
    marks.first.wait_for()
    assert page.locator("#conversation .question").inner_text() == "Please segment the <b>cat</b>."
    drawn = wait_for_another(page, plain)
    tints = [tuple(map(int, re.findall(r"\d+", style))) for style in marks.evaluate_all(
        "marks => marks.map(mark => getComputedStyle(mark).backgroundColor)"
    )]  # fmt: skip
    assert len(set(tints)) == len(tints) == marks.count()

    found = json.loads(download(page, "#save-json"))
    (answer,) = found["answers"]
    assert (found["image"], found["size"], found["threshold"]) == ("blocks.png", [HEIGHT, WIDTH], 0.5)
    assert len(answer["spans"]) == marks.count()
    sizes = [coco_mask.area(span["segmentation"]) for span in answer["spans"]]
    on_top = min((size, color) for size, color in zip(sizes, tints) if size)[1]
    assert (drawn == on_top).all(-1).any()  # the outline has the phrase's colour

    choose_threshold(page, 0.9)
    wait_for_another(page, drawn)
    playwright.expect(page.locator("#file")).to_have_count(0)  # the file of the other masks is gone
    higher = json.loads(download(page, "#save-json"))["answers"][0]
    assert higher["text"] == answer["text"]  # nothing has been generated again
    for low, high in zip(answer["spans"], higher["spans"]):
        low, high = (coco_mask.decode(span["segmentation"]).astype(bool) for span in (low, high))
        assert not (high & ~low).any()


def test_chat_zip_and_new_chat(page, tmp_path):
    plain = begin(page, write_image(tmp_path, "more blocks", HEIGHT, WIDTH))
    page.locator("#ilvc input").uncheck()
    for question in ("Please segment the cat.", "And the dog?"):
        ask(page, question)
    names = zipfile.ZipFile(io.BytesIO(download(page, "#save-zip"))).namelist()
    assert names and len(names) == page.locator("#conversation mark").count()
    page.locator("#new-chat").click()
    playwright.expect(page.locator("#conversation .question")).to_have_count(0)
    np.testing.assert_array_equal(wait_for_another(page, np.zeros_like(plain)), plain)


def test_a_mask_says_its_phrase_and_score_when_it_is_pointed_at_or_reached_by_keys(page, tmp_path):
    begin(page, write_image(tmp_path, "blocks", HEIGHT, WIDTH))
    page.locator("#question textarea").fill("Please segment the cat.")
    page.locator("#question textarea").press("Enter")  # no mouse
    playwright.expect(page.locator("#conversation .answer")).to_have_count(1, timeout=30_000)
    playwright.expect(page.locator("#stop")).to_be_disabled(timeout=30_000)
    regions = page.locator("#regions .region")
    regions.first.wait_for(state="attached")
    (answer,) = json.loads(download(page, "#save-json"))["answers"]
    drawn = [span for span in answer["spans"] if coco_mask.area(span["segmentation"])]
    said = sorted(f"{span['phrase'] or 'no phrase'} {span['score']:.2f}" for span in drawn)
    assert sorted(region.get_attribute("aria-label") for region in regions.all()) == said

    image = page.locator("#picture img").bounding_box()
    left, top, right, bottom = page.locator("#regions svg").evaluate(
        "svg => { const to = svg.getScreenCTM(), box = svg.viewBox.baseVal;"
        " return [to.e, to.f, to.e + to.a * box.width, to.f + to.d * box.height] }"
    )
    drawn_at = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    assert drawn_at == pytest.approx(image, abs=3), "outlines lie where the masks are drawn"
    label = regions.last.locator("text")  # on top
    assert label.evaluate("text => getComputedStyle(text).visibility") == "hidden"
    smallest = min(drawn, key=lambda span: coco_mask.area(span["segmentation"]))
    y, x = np.argwhere(coco_mask.decode(smallest["segmentation"]))[0] + 0.5
    page.mouse.move(left + x * (right - left) / WIDTH, top + y * (bottom - top) / HEIGHT)
    assert label.evaluate("text => getComputedStyle(text).visibility") == "visible"
    page.mouse.move(1, 1)
    regions.last.focus()
    assert label.evaluate("text => getComputedStyle(text).visibility") == "visible"


def test_an_example_is_asked_about_and_saved_for_other_programs(page, tmp_path):
    page.get_by_text("Example: the noise").click()
    playwright.expect(page.locator("#question textarea")).to_have_value("Please segment the noise.")
    plain = picture(page)
    page.locator("#ask").click()
    playwright.expect(page.locator("#conversation .answer")).to_have_count(1, timeout=30_000)
    playwright.expect(page.locator("#stop")).to_be_disabled(timeout=30_000)
    (tmp_path / "coco.json").write_bytes(download(page, "#save-coco"))
    (answer,) = json.loads(download(page, "#save-json"))["answers"]
    truth = COCO(str(tmp_path / "coco.json"))
    assert [(image["height"], image["width"]) for image in truth.imgs.values()] == [(HEIGHT, WIDTH)]
    assert len(truth.anns) == len(answer["spans"])
    for annotation, span in zip(truth.anns.values(), answer["spans"]):
        np.testing.assert_array_equal(truth.annToMask(annotation), coco_mask.decode(span["segmentation"]))
        assert truth.cats[annotation["category_id"]]["name"] == span["phrase"]
        assert annotation["bbox"] == coco_mask.toBbox(span["segmentation"]).tolist()
    saved = np.array(Image.open(io.BytesIO(download(page, "#save-picture"))))
    np.testing.assert_array_equal(saved, picture(page))
    page.locator("#new-chat").click()
    np.testing.assert_array_equal(wait_for_another(page, saved), plain)


def test_a_telephone_shows_the_page_without_scrolling_sideways(page, tmp_path):
    page.set_viewport_size({"width": 360, "height": 740})
    begin(page, write_image(tmp_path, "blocks", HEIGHT, WIDTH))
    ask(page, "Please segment the cat.")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name in ("#ask", "#stop", "#new-chat", "#save-zip", "#save-json", "#save-coco", "#save-picture"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["height"] >= 40, name


def test_an_answer_can_be_stopped(page, lira, tmp_path, monkeypatch):
    """What has come stays, and the next question is answered."""
    monkeypatch.setitem(lira.model.generation, "max_new_tokens", 100_000)
    begin(page, write_image(tmp_path, "blocks", HEIGHT, WIDTH))
    page.locator("#question textarea").fill("Please segment the cat.")
    page.locator("#ask").click()
    page.locator("#conversation mark").first.wait_for()
    page.locator("#stop").click()
    playwright.expect(page.locator("#stop")).to_be_disabled()
    monkeypatch.setitem(lira.model.generation, "max_new_tokens", 3)
    page.wait_for_timeout(500)
    stopped = page.locator("#conversation .answer").inner_text()
    ask(page, "And the dog?")
    assert page.locator("#conversation .answer").first.inner_text() == stopped


def test_one_answer_is_written_at_a_time(visit, lira, tmp_path, monkeypatch):
    monkeypatch.setitem(lira.model.generation, "max_new_tokens", 100_000)
    first, second = visit(), visit()
    for page in (first, second):
        begin(page, write_image(tmp_path, "blocks", HEIGHT, WIDTH))
        page.locator("#question textarea").fill("Please segment the cat.")
    first.locator("#ask").click()
    first.locator("#conversation .answer").wait_for()
    monkeypatch.setitem(lira.model.generation, "max_new_tokens", 3)
    second.locator("#ask").click()
    second.wait_for_timeout(1000)
    assert second.locator("#conversation .answer").count() == 0
    playwright.expect(first.locator("#stop")).to_be_enabled()
    first.locator("#stop").click()
    second.locator("#conversation .answer").wait_for()
    playwright.expect(second.locator("#stop")).to_be_disabled()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.png", b"no picture", "cannot"), ("large.png", (400, 300), "megapixels"), ("huge.png", (600, 600), "size")],
)
def test_what_cannot_be_taken_is_refused(page, tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif name == "large.png":
        Image.new("RGB", content).save(path)
    else:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*content, 3), np.uint8)).save(path)
        assert path.stat().st_size > MAX_BYTES
    upload(page, path)
    page.get_by_text(re.compile(message)).first.wait_for()
    assert page.locator("#picture img").count() == 0


def test_nothing_comes_from_elsewhere_and_no_other_file_is_served(page, address, tmp_path):
    begin(page, write_image(tmp_path, "blocks", HEIGHT, WIDTH))
    ask(page, "Please segment the cat.")
    assert page.hosts == {"127.0.0.1"} and not page.errors and not page.refused
    links = page.locator("link[href], script[src]").evaluate_all("tags => tags.map(tag => tag.href || tag.src)")
    assert {urlsplit(link).hostname for link in links} == {"127.0.0.1"}
    for path in (__file__, "/etc/passwd", Path.cwd() / "pyproject.toml"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{address}gradio_api/file={path}")
        assert error.value.code in (403, 404)
