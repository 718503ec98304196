"""A hub on this machine, as far as huggingface_hub uploads to it; shared by tests."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class HubStub:
    """What was uploaded.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.created: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        """Large files by their hash, before a commit names them."""


@contextmanager
def hub_stub() -> Iterator[HubStub]:
    """Serve until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), None)
    stub = HubStub(f"http://127.0.0.1:{server.server_port}")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def reply(self, content, status=200):
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_PUT(self):
            content = self.body()
            stub.objects[hashlib.sha256(content).hexdigest()] = content
            self.reply({})

        def do_GET(self):
            self.reply({"id": "someone/lira", "sha": "0" * 40, "siblings": []})

        def do_POST(self):
            body, path = self.body(), self.path
            if path == "/api/repos/create":
                stub.created.append(json.loads(body))
                self.reply({"url": f"{stub.address}/someone/lira"})
            elif path == "/api/validate-yaml":
                self.reply({"errors": [], "warnings": []})
            elif "/preupload/" in path:
                files = json.loads(body)["files"]
                kinds = {True: "lfs", False: "regular"}
                self.reply(
                    {
                        "files": [
                            {
                                "path": file["path"],
                                "uploadMode": kinds[file["path"].endswith(".safetensors")],
                                "shouldIgnore": False,
                            }
                            for file in files
                        ]
                    }
                )
            elif path.endswith("/info/lfs/objects/batch"):
                asked = json.loads(body)["objects"]
                upload = {"upload": {"href": f"{stub.address}/store"}}
                self.reply({"transfer": "basic", "objects": [{**one, "actions": upload} for one in asked]})
            elif "/commit/" in path:
                for line in body.decode().splitlines():
                    entry = json.loads(line)
                    value = entry["value"]
                    if entry["key"] == "file":
                        stub.files[value["path"]] = base64.b64decode(value["content"])
                    elif entry["key"] == "lfsFile":
                        stub.files[value["path"]] = stub.objects[value["oid"]]
                url = f"{stub.address}/someone/lira/commit/{'0' * 40}"
                self.reply({"success": True, "commitUrl": url, "commitOid": "0" * 40, "pullRequestUrl": None})
            else:
                self.reply({"error": f"unknown {path}"}, 404)

    server.RequestHandlerClass = Handler
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
