"""What the demo's server refuses: 40 kinds of requests for files and pages that are not the visitor's."""

import io
import json
import os
import socket
import stat
import time
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from support.demo_visitor import API, Visitor, form

pytestmark = pytest.mark.slow
gradio = pytest.importorskip("gradio", reason="needs gradio: uv sync --extra demo")

SECRET_COLOR, OWN_COLOR, OTHER_COLOR = (201, 17, 99), (10, 200, 30), (20, 40, 220)
TEXT = b"the secret of the server"
MAX_BYTES = 50_000


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def served(folder, host="127.0.0.1", **options):
    """The demo without a model: its page and its port."""
    from lira_plugin.demo.app import Demo, build, launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        page = build(Demo(None, folder, max_pixels=2000))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        launch(page, host, port, MAX_BYTES, **options)
        page._queue.sleep_when_free = 0.002  # seconds between two events
        try:
            yield page, port
        finally:
            page.close(verbose=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The server, a secret image and text, one visitor who has uploaded and opened an image, and one who attacks."""
    folder = tmp_path_factory.mktemp("demo")
    secret = tmp_path_factory.mktemp("secret")
    (secret / "secret.png").write_bytes(png(SECRET_COLOR))
    (secret / "secret.txt").write_bytes(TEXT)
    os.mkfifo(secret / "fifo.png")
    with served(folder) as (page, port):
        yield World(page, port, folder, secret)


def index_of(page, name):
    return next(index for index, fn in page.fns.items() if getattr(fn.fn, "__name__", "") == name)


def upload_of(path, **others):
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **others}


def pictures(content):
    """The paths in an event's output."""
    if isinstance(content, dict):
        own = [content["path"]] if isinstance(content.get("path"), str) else []
        return own + pictures(list(content.values()))
    return [path for item in content for path in pictures(item)] if isinstance(content, list) else []


class World:
    def __init__(self, page, port, folder, secret):
        self.page, self.port, self.folder, self.secret = page, port, folder, secret
        self.open, self.ask, self.draw = (index_of(page, name) for name in ("open", "ask", "draw"))
        self.other, self.me = Visitor(port, "other"), Visitor(port, "attacker")
        for visitor in (self.other, self.me):
            visitor.see_page()
        self.others_path = self.other.uploaded(png(OTHER_COLOR), "other.png")
        success, output = self.other.outcome(self.open, [upload_of(self.others_path)])
        assert success
        self.others_picture = pictures(output["data"])[0]
        self.own_path = self.me.uploaded(png(OWN_COLOR), "own.png")
        self.own_folder = Path(self.own_path).parent
        (self.own_folder / "link.png").symlink_to(secret / "secret.png")
        (self.own_folder / "circle.png").symlink_to(self.own_folder / "circle.png")
        os.mkfifo(self.own_folder / "fifo.png")
        os.mknod(self.own_folder / "socket.png", stat.S_IFSOCK | 0o600)
        (self.own_folder / "folder.png").mkdir()
        (folder / "planted.png").write_bytes(png(SECRET_COLOR))
        (folder / "deep_links").mkdir()
        (folder / "state.json").write_text(json.dumps([{"id": 1, "props": {"value": TEXT.decode()}}]))

    def names(self):
        """Spellings of files that are not the attacker's, by kind."""
        secret, own = str(self.secret / "secret.png"), self.own_path
        inside = str(self.own_folder)
        return {
            "absolute": [secret, str(self.secret / "secret.txt"), "/etc/passwd", "/proc/self/environ"],
            "another visitor's upload": [self.others_path, str(Path(self.others_path).parent)],
            "another visitor's picture": [self.others_picture],
            "put into the folder": [str(self.folder / "planted.png"), str(self.folder / "state.json")],
            "FIFO": [str(self.secret / "fifo.png"), f"{inside}/fifo.png"],
            "socket": [f"{inside}/socket.png"],
            "device": ["/dev/zero", "/dev/stdin", "/dev/fd/0"],
            "folder": [f"{inside}/folder.png", inside, str(self.folder), "/", "."],
            "link": [f"{inside}/link.png", f"{inside}/circle.png", "/proc/self/root" + secret],
            "dots": [f"{inside}/../../../planted.png", f"{own}/../link.png", f"{inside}/" + "../" * 12 + secret[1:]],
            "relative": [os.path.relpath(secret), "pyproject.toml", "../secret.png", "secret.png"],
            "other spelling": [f"{inside}/./own.png", f"/{own}", own.replace("/uploads", "//uploads"), own + "/"],
            "case": [own.upper(), secret.upper()],
            "NUL": [f"{secret}\0", f"{secret}\0.png", f"{own}\0{secret}"],
            "file address": [f"file://{secret}", f"FILE:{secret}", f"file://localhost{secret}"],
            "web address": [
                f"http://127.0.0.1:{self.port}/config",
                f"HTTPS://127.0.0.1:{self.port}/",
                f"//127.0.0.1:{self.port}/",
                "ftp://127.0.0.1/a.png",
            ],
            "data address": ["data:image/png;base64,AAAA", f"data:text/plain,{secret}"],
            "encoded": [quote(secret, safe=""), quote(quote(secret, safe=""), safe=""), secret.replace("/", "%2f")],
            "route": [f"{API}/file={secret}", f"/file={secret}", f"proxy=http://127.0.0.1:{self.port}/"],
            "home and variables": ["~/.bashrc", "~root/secret.png", "$HOME/.bashrc", "${HOME}"],
            "Windows": ["C:\\secret.png", "\\\\127.0.0.1\\share\\a.png", own.replace("/", "\\")],
            "too long": ["/" + "a" * 5000, secret + "/" * 3000],
            "no path": ["", " ", "\n", "\ud800", "\u202e" + secret],
        }

    def shapes(self):
        """File objects that name a path, by kind."""
        own = self.own_path
        return {
            "with meta": upload_of,
            "without meta": lambda path: {"path": path},
            "with foreign meta": lambda path: {"path": path, "meta": {"_type": "gradio.Other"}},
            "as a stream": lambda path: upload_of(path, is_stream=True),
            "with a name and an address": lambda path: upload_of(
                path, orig_name="own.png", url=own, mime_type="image/png"
            ),
            "as text": lambda path: path,
            "in a list": lambda path: [upload_of(path)],
            "deep in lists and objects": lambda path: {"a": [{"b": [[upload_of(path)]]}]},
            "as an image of an editor": lambda path: {
                "background": upload_of(path),
                "layers": [],
                "composite": {"path": path},
            },
            "as a message of a chat": lambda path: {"role": "user", "content": upload_of(path)},
            "as a path of a path": lambda path: {"path": upload_of(path)},
            "as address": lambda path: {"path": None, "url": path},
            "as address of an own file": lambda path: upload_of(own, url=path, orig_name=path),
            "twice": lambda path: upload_of(path, **{"Path": own}),
        }

    def check_no_leak(self, body):
        assert TEXT not in body and b"root:x:" not in body and png(SECRET_COLOR) not in body
        assert png(OTHER_COLOR) not in body


def test_what_a_visitor_may_have(world):
    """Without a cookie, too; and whatever else is in a file object is not looked at."""
    plain = Visitor(world.port, "plain")
    for visitor in (world.me, plain):
        path = visitor.uploaded(png(OWN_COLOR), "../../my own image.png")
        assert Path(path).name == "my own image.png" and visitor.file(path).body == png(OWN_COLOR)
        success, output = visitor.outcome(world.open, [{"path": path, "url": "http://127.0.0.1:1/a.png", "size": 4}])
        assert success
        picture = visitor.file(pictures(output["data"])[0])
        found = np.array(Image.open(io.BytesIO(picture.body)).convert("RGB"))
        assert (found == OWN_COLOR).all()


def test_no_event_gets_a_file_that_its_visitor_has_not_uploaded(world):
    """Every kind of name in every kind of object, for the image; then in the place of every other input."""
    files = set(world.folder.rglob("*"))
    names, shapes = world.names(), world.shapes()
    asked = [
        (world.open, 0, shape, shapes[shape](path))
        for paths in names.values()
        for shape, path in zip(shapes, cycle(paths))
    ]
    others = [shape for shape in shapes if shape not in ("as text", "as address of an own file")]
    for index, fn in world.page.fns.items():
        for position, block in enumerate(fn.inputs):
            if not isinstance(block, gradio.State | gradio.Image):
                for shape in (others[(index + position) % len(others)], "without meta"):
                    asked.append((index, position, shape, shapes[shape](str(world.secret / "secret.png"))))
    assert len(asked) >= 300 and len(names) * len(shapes) >= 40
    for start in range(0, len(asked), 30):  # which the queue has room for
        shape_of = {}
        for function, position, shape, value in asked[start : start + 30]:
            data = [None] * len(world.page.fns[function].inputs)
            data[position] = value
            answer = world.me.join(function, data)
            assert answer.status == 200, answer
            shape_of[json.loads(answer.body)["event_id"]] = shape
        done = [message for message in world.me.messages() if message["msg"] == "process_completed"]
        assert len(done) == len(shape_of)
        for message in done:
            world.check_no_leak(json.dumps(message).encode())
            assert message["success"] == (shape_of[message["event_id"]] == "as address of an own file"), message
            if message["success"]:
                picture = world.me.file(pictures(message["output"]["data"])[0])
                assert (np.array(Image.open(io.BytesIO(picture.body)).convert("RGB")) == OWN_COLOR).all()
    for new in set(world.folder.rglob("*.png")) - files:
        if new.is_file() and not new.is_symlink():
            assert (np.array(Image.open(new).convert("RGB")) == OWN_COLOR).all()


def test_no_address_gives_a_file_that_is_not_the_visitors(world):
    for kind, paths in world.names().items():
        for path in (path.encode("utf-8", "surrogatepass") for path in paths):
            for start in (f"{API}/file=", f"{API}/file/", "/file=", "/file/", f"{API}/proxy=", "/static/", "/assets/"):
                for method in ("GET", "HEAD") if start == f"{API}/file=" else ("GET",):
                    answer = world.me.request(method, start + quote(path), headers={"Range": "bytes=0-99"})
                    assert answer.status in (400, 403, 404, 405), (kind, path, start, answer)
                    world.check_no_leak(answer.body)


def test_routes_that_the_page_does_not_need_are_closed(world):
    secret = str(world.secret / "secret.png")
    form_kind, video = form(b"a", "a.mp4", "video")
    asked = [
        ("GET", f"{API}/deep_link?session_hash=other", None, None),
        ("GET", f"{API}/stream/other/1/1/playlist-file", None, None),
        ("POST", f"{API}/stream/abc", json.dumps({"data": [{"path": secret}]}).encode(), None),
        ("POST", f"{API}/stream/abc/close", b"", None),
        ("POST", f"{API}/component_server", b'{"component_id": 1, "fn_name": "ls", "session_hash": "a", "data": "/"}', None),
        ("POST", f"{API}/process_recording", video, form_kind),
        ("POST", f"{API}/call/open", json.dumps({"data": [{"path": secret}]}).encode(), None),
        ("POST", f"{API}/api/open", json.dumps({"data": [{"path": secret}], "fn_index": world.open}).encode(), None),
        ("POST", f"{API}/run/predict", json.dumps({"data": [{"path": secret}], "fn_index": world.open}).encode(), None),
        ("GET", f"{API}/call/open/abc", None, None),
        ("GET", f"{API}/openapi.json", None, None),
        ("GET", f"{API}/token", None, None),
        ("GET", f"{API}/dev/reload", None, None),
        ("GET", f"{API}/custom_component/gradio.image/client/..%2f..%2f/routes.py", None, None),
        ("POST", "/login", b"username=a&password=b", "application/x-www-form-urlencoded"),
        ("GET", "/logout", None, None),
        ("GET", "/monitoring/abc", None, None),
        ("GET", "/svelte/../../../routes.py", None, None),
        ("GET", "/pwa_icon/100000", None, None),
        ("GET", "/docs", None, None),
        ("GET", "//127.0.0.1:1/", None, None),
        ("PUT", "/", b"", None),
        ("DELETE", f"{API}/file={world.own_path}", None, None),
        ("TRACE", "/", None, None),
        ("CONNECT", "/", None, None),
    ]  # fmt: skip
    for method, path, body, kind in asked:
        answer = world.me.request(method, path, body, {"Content-Type": kind or "application/json"})
        assert answer.status in (403, 404, 405), (path, answer)
        world.check_no_leak(answer.body)


def test_a_link_into_the_folder_of_chats_is_not_followed(world):
    """``deep_link`` names a folder with a ``state.json``; the framework takes any."""
    for link in ("..", "../..", str(world.folder), str(world.secret), "%2e%2e"):
        for page in ("/", "/config"):
            answer = world.me.request("GET", f"{page}?deep_link={quote(link)}")
            assert answer.status == 200
            world.check_no_leak(answer.body)


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example", "attacker.example:{port}", "127.0.0.1.attacker.example:{port}", "localhost.attacker.example",
        "127.0.0.1:1", "192.0.2.7:{port}", "0.0.0.0:{port}", "127.0.0.1@attacker.example", "attacker.example#127.0.0.1",
        "[::ffff:192.0.2.7]:{port}", "localhost:{port}:80", "", "2130706433:{port}", "localhost\\@attacker.example",
    ],
)  # fmt: skip
def test_a_forged_host_is_refused_everywhere(world, host):
    """Of a web page whose name was made to point at this machine."""
    forged = {"Host": host.format(port=world.port)}
    secret = {"data": [{"path": str(world.secret / "secret.png")}], "fn_index": world.open, "session_hash": "forged"}
    for method, path, body in (
        ("GET", "/", None),
        ("GET", "/config", None),
        ("POST", f"{API}/queue/join", json.dumps(secret).encode()),
        ("GET", f"{API}/queue/data?session_hash=forged", None),
        ("GET", f"{API}/file={world.own_path}", None),
    ):
        sent = {**forged, "Content-Type": "application/json"}
        answer = world.me.request(method, path, body, sent)
        assert answer.status in (400, 403), (path, answer)
    kind, content = form(png(OWN_COLOR), "a.png")
    answer = world.me.request("POST", f"{API}/upload", content, {**forged, "Content-Type": kind})
    assert answer.status in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LocalHost:{port}", "127.0.0.1"]
)
def test_names_of_this_machine_are_answered(world, host):
    assert world.me.request("GET", "/", headers={"Host": host.format(port=world.port)}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "http://127.0.0.1:{port}.attacker.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_pages_of_others_are_refused(world, headers):
    sent = {name: value.format(port=world.port) for name, value in headers.items()}
    for path in ("/", f"{API}/file={quote(world.own_path)}"):
        assert world.me.request("GET", path, headers=sent).status == 403
    assert world.me.upload(png(OWN_COLOR), headers=sent).status == 403
    assert world.me.post("/queue/join", {}, sent).status == 403


def test_the_own_page_and_a_link_to_it_are_answered(world):
    origin = {"Origin": f"http://127.0.0.1:{world.port}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert world.me.upload(png(OWN_COLOR), headers=origin).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert world.me.request("GET", "/", headers=link).status == 200


def test_nobody_is_sent_elsewhere(world):
    forwarded = {
        "X-Forwarded-Host": "attacker.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=attacker.example",
    }
    for path in ("/", "/config", "/config/", f"{API}/info/", f"{API}/file=http://attacker.example/", "/logout"):
        answer = world.me.request("GET", path, headers=forwarded)
        assert "attacker.example" not in answer.headers.get("location", "")
        assert b"attacker.example" not in answer.body, path


def test_a_chat_is_of_the_visitor_who_began_it(world):
    thief = Visitor(world.port, "other")
    thief.see_page()
    assert thief.join(world.draw, [None, None, "refined", 0.5]).status == 403
    for path in (f"{API}/queue/data?session_hash=other", f"{API}/heartbeat/other"):
        assert thief.request("GET", path).status == 403
    assert thief.post("/cancel", {"session_hash": "other", "fn_index": world.ask, "event_id": "a"}).status == 403
    success, output = world.other.outcome(world.draw, [None, None, "refined", 0.5])
    assert success
    picture = pictures(output["data"])[0]
    assert world.other.file(picture).status == 200 and thief.file(picture).status == 404


def test_a_visitor_is_known_by_the_cookie_among_those_of_other_servers():
    from lira_plugin.demo.visitors import COOKIE, visitor_of

    known = visitor_of(f"{COOKIE}=abc-_1")
    for cookie in (f'name="2|1:0|[x]"; {COOKIE}=abc-_1; b', f"a=b;{COOKIE}=abc-_1 ;c"):
        assert visitor_of(cookie) == known
    nobody = visitor_of("")
    for cookie in (f"x{COOKIE}=abc-_1", f"{COOKIE}=", f"{COOKIE}=\xe4", "a=b", f"{COOKIE}=../../a"):
        assert visitor_of(cookie) == nobody != known


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON"),
        (b'{"data": NaN}', "NaN"),
        (b'{"data":' + b"[" * 30_000, "nested too deep"),
        (b'{"data": [], "fn_index": 999}', "fn_index"),
        (b'{"data": [], "fn_index": true}', "fn_index"),
        (b'{"data": [], "fn_index": 1e400}', "fn_index"),
        (b'{"data": {}, "fn_index": 0}', "data must be a list"),
        (b'{"data": [1, 2, 3, 4, 5, 6, 7, 8], "fn_index": 0}', "data must be a list"),
    ],
    ids=range(10),
)
def test_events_that_are_none_are_refused(world, body, message):
    answer = world.me.post("/queue/join", body)
    assert answer.status == 422 and message in answer.body.decode()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("ask", ["a" * 1001, None, True, "refined", 0.5], "1001 characters, the demo takes 1000"),
        ("ask", ["\ud800", None, True, "refined", 0.5], "half a character"),
        ("ask", [["a"], None, True, "refined", 0.5], "must be a text"),
        ("ask", ["a", None, "yes", "refined", 0.5], "cannot be 'yes'"),
        ("ask", ["a", None, True, "fine", 0.5], "cannot be 'fine'"),
        ("ask", ["a", None, True, "refined", 1.5], "cannot be 1.5"),
        ("ask", ["a", None, True, "refined", True], "cannot be True"),
        ("ask", ["a", {"path": "/etc/passwd"}, True, "refined", 0.5], "Upload an image first"),
        ("draw", [None, -3, "refined", 0.5], "cannot be -3"),
        ("draw", [None, {"path": "/etc/passwd"}, "refined", 0.5], "cannot be {"),
    ],
)
def test_values_that_no_input_has_are_refused(world, name, data, message):
    success, output = Visitor(world.port, "values").outcome(getattr(world, name), data)
    assert not success and message in output["error"]


def test_too_much_at_once_is_refused(world):
    large = os.urandom(MAX_BYTES + 70_000)
    assert world.me.upload(large).status == 413
    kind, body = form(large, "a.png")
    pieces = (body[start : start + 8192] for start in range(0, len(body), 8192))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    sent = {"Content-Type": kind, "Transfer-Encoding": "chunked"}
    assert world.me.request("POST", f"{API}/upload", chunks, sent).status == 413
    assert world.me.post("/queue/join", b"a" * 70_000).status == 413
    two = form(b"a", "a.png")[1].removesuffix(b"--cut--\r\n") + form(b"b", "b.png")[1]
    assert world.me.request("POST", f"{API}/upload", two, {"Content-Type": kind}).status == 400
    for kind in ("text/plain", "multipart/form-data", ""):
        assert world.me.request("POST", f"{API}/upload", body[:99], {"Content-Type": kind}).status == 400


def test_errors_show_no_source_code(world, monkeypatch):
    def fail(*_):
        raise RuntimeError("a secret of the code")

    monkeypatch.setattr(world.page, "get_api_info", fail)
    monkeypatch.setattr(world.page.app, "api_info", None)
    answer = world.me.request("GET", f"{API}/info", headers={"Accept": "text/html"})
    assert answer.status == 500 and b"secret" not in answer.body and b"Traceback" not in answer.body


def test_what_a_form_of_another_page_can_send_is_no_event(world):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        assert world.me.post("/queue/join", {}, {"Content-Type": kind}).status == 415


def test_a_web_socket_is_refused(world):
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 24,
    }
    assert world.me.request("GET", f"{API}/stream/abc", headers=asked).status in (400, 403, 404)


def test_a_visitor_is_told_that_the_chat_was_given_up_for_another(tmp_path):
    with served(tmp_path, max_chats=2) as (page, port):
        visitors = [Visitor(port, f"visitor{index}") for index in range(3)]
        for visitor in visitors:
            visitor.see_page()
            success, _ = visitor.outcome(index_of(page, "open"), [{"path": visitor.uploaded(png(OWN_COLOR))}])
            assert success
        first = visitors[0]
        for name, data in (("ask", ["What?", None, True, "refined", 0.5]), ("draw", [None, None, "refined", 0.5])):
            success, output = first.outcome(index_of(page, name), data)
            assert not success and "Your chat is gone" in output["error"]
        success, output = Visitor(port, "new").outcome(index_of(page, "ask"), ["What?", None, True, "refined", 0.5])
        assert not success and "Upload an image first" in output["error"]


def test_uploads_at_a_time_are_bounded_in_count_and_time(tmp_path, monkeypatch):
    from lira_plugin.demo import visitors

    monkeypatch.setattr(visitors, "_MAX_UPLOADS", 3)
    monkeypatch.setattr(visitors, "_UPLOAD_SECONDS", 1)
    with served(tmp_path) as (_, port), ExitStack() as stack:
        kind, body = form(png(OWN_COLOR), "a.png")
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(3)]
        for one in slow:
            head = (
                f"POST {API}/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
            )
            one.sendall(head.encode() + b"\r\n\r\n" + body[:50])
        plain = Visitor(port, "plain")
        wait_for(lambda: plain.upload(png(OWN_COLOR)).status == 503)
        assert all(b" 408 " in one.recv(100) for one in slow)
        assert plain.upload(png(OWN_COLOR)).status == 200


def test_old_files_go_though_nobody_asks_for_anything(tmp_path, monkeypatch):
    from lira_plugin.demo import app

    monkeypatch.setattr(app, "_TIDY_EVERY", 0.1)
    with served(tmp_path) as (_, port):
        path = Visitor(port, "plain").uploaded(png(OWN_COLOR))
        os.utime(path, (1, 1))
        wait_for(lambda: not os.path.exists(path))


def wait_for(condition):
    """Until it holds, for at most five seconds."""
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it does not come about")


def test_what_is_kept_is_bounded(tmp_path):
    with served(tmp_path) as (page, port):
        page.files.max_files, page.files.max_bytes = 5, 3000
        visitor = Visitor(port, "visitor")
        visitor.see_page()
        paths = [visitor.uploaded(bytes(100)) for _ in range(7)]
        kept = [path for path in paths if visitor.file(path).status == 200]
        assert kept == paths[2:]
        visitor.uploaded(bytes(2700))
        assert sum(file.stat().st_size for file in (tmp_path / "uploads").rglob("*.png")) <= 3000
        assert visitor.upload(bytes(3001)).status == 400


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_demo_listens_at_an_address_of_the_new_kind(tmp_path, host):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    from urllib.request import urlopen

    with served(tmp_path, host) as (_, port), urlopen(f"http://[::1]:{port}/") as answer:
        assert answer.status == 200


def test_at_every_address_only_those_reached_and_allowed_are_answered(tmp_path):
    with served(tmp_path, "0.0.0.0", allow_hosts=["demo.example", "tunnel.example:8080"]) as (_, port):
        visitor = Visitor(port, "visitor")
        for host, status in {
            f"127.0.0.1:{port}": 200,
            "demo.example": 200,
            "Demo.Example:443": 200,
            "tunnel.example:8080": 200,
            "tunnel.example": 403,
            "tunnel.example:8081": 403,
            "attacker.example": 403,
            f"192.0.2.7:{port}": 403,
        }.items():
            assert visitor.request("GET", "/", headers={"Host": host}).status == status, host


def test_a_name_to_allow_must_be_one():
    from lira_plugin.web.known_hosts import KnownHosts

    with pytest.raises(ValueError, match=r"'http://demo.example' is no host"):
        KnownHosts("127.0.0.1", 7860, ["http://demo.example"])
