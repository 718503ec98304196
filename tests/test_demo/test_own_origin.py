"""What the middleware does to answers of an application that it wraps."""

import asyncio

import pytest

from lira_plugin.demo.own_origin import POLICY, OwnOriginOnly, without_foreign_tags


def answer_of(kind, *pieces):
    """Status, headers and body of an application's answer in pieces, behind the middleware."""

    async def app(scope, receive, send):
        length = str(sum(map(len, pieces))).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", kind), (b"content-length", length)],
            }
        )
        for place, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces)})

    async def send(message):
        sent.append(message)

    sent = []
    asyncio.run(OwnOriginOnly(app)({"type": "http"}, None, send))
    start, *rest = sent
    return start["status"], dict(start["headers"]), [message["body"] for message in rest]


def test_a_page_loses_what_is_foreign():
    status, headers, body = answer_of(
        b"text/html; charset=utf-8",
        b'<p>a</p><link rel="preconnect" href="https://fonts.exam',
        b'ple"/><script\nsrc="//cdn.example/a.js" async></script><script src="./own.js"></script>',
    )
    page = b'<p>a</p><script src="./own.js"></script>'
    assert (status, body) == (200, [page])
    assert headers[b"content-length"] == str(len(page)).encode()
    assert headers[b"content-security-policy"] == POLICY.encode()


def test_other_answers_pass_piece_by_piece():
    pieces = [b"data: 1\n\n", b'data: <link href="https://x.example">\n\n']
    _, headers, body = answer_of(b"text/event-stream", *pieces)
    assert body == pieces and b"content-security-policy" in headers


@pytest.mark.parametrize("tag", [b'<link href="/a.css">', b'<a href="https://x.example">x</a>', b"<script>1</script>"])
def test_own_tags_and_plain_links_stay(tag):
    assert without_foreign_tags(tag) == tag
