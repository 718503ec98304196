"""A visitor of the demo's server who sends what no browser would."""

import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import quote

API = "/gradio_api"
TIMEOUT = 20


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Visitor:
    """A client with a cookie of its own, unless it never asks for the page, and a session of its own.

    Args:
        port: of the server.
        session: the chat's name.
        cookie: sent with every request, once the page has been asked for.
    """

    port: int
    session: str
    cookie: dict[str, str] = field(default_factory=dict)

    def request(self, method, path, body=None, headers=None):
        """Send a request as it is and read the answer."""
        sent = {"Host": f"127.0.0.1:{self.port}", **self.cookie, **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body is not None and "Transfer-Encoding" not in sent:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def see_page(self):
        """Ask for the page and keep its cookie."""
        answer = self.request("GET", "/")
        self.cookie = {"Cookie": answer.headers["set-cookie"].split(";")[0]}
        return answer

    def post(self, path, content, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.request("POST", API + path, body, {"Content-Type": "application/json", **(headers or {})})

    def upload(self, content, name="image.png", headers=None, field="files"):
        kind, body = form(content, name, field)
        return self.request("POST", f"{API}/upload", body, {"Content-Type": kind, **(headers or {})})

    def uploaded(self, content, name="image.png"):
        """Upload a file and give its path there."""
        answer = self.upload(content, name)
        assert answer.status == 200, answer
        (path,) = json.loads(answer.body)
        return path

    def join(self, function, data, **others):
        """Ask for an event."""
        event = {"session_hash": self.session, "fn_index": function, "data": data, "trigger_id": None, **others}
        return self.post("/queue/join", event)

    def messages(self):
        """What comes of the events that were asked for, until all are done."""
        answer = self.request("GET", f"{API}/queue/data?session_hash={quote(self.session)}")
        lines = answer.body.decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    def outcome(self, function, data, **others):
        """Whether an event succeeds, and what it gives."""
        answer = self.join(function, data, **others)
        assert answer.status == 200, answer
        (done,) = (message for message in self.messages() if message["msg"] == "process_completed")
        return done["success"], done["output"]

    def file(self, path):
        return self.request("GET", f"{API}/file={quote(path)}")


def form(content, name, field="files"):
    """Content type and body of a form with one file."""
    lines = f'--cut\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
    return "multipart/form-data; boundary=cut", lines + content + b"\r\n--cut--\r\n"
