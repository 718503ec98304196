"""What the guides say, taken apart: paragraphs, sentences, blocks of code, headings and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.paths import CONFIGS, ROOT

DOCS = ROOT / "docs"
NOT_READ_THROUGH = (DOCS / "notes", DOCS / "api.md")
"""Notes of what was learnt, and lists: no guides."""
GUIDES = [
    ROOT / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if not any(path.is_relative_to(left) for left in NOT_READ_THROUGH)),
]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    CONFIGS / "lira" / "README.md",
    *sorted((ROOT / "projects").glob("**/README.md")),
]
"""Every page of the site that is written by hand."""
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class CodeBlock:
    """A block of code in a guide.

    Args:
        language: as the guide names it.
        code: its lines.
        line: where it begins.
        reason: why no test runs it; empty where one has to.
    """

    language: str
    code: str
    line: int
    reason: str


def name_of(path: Path) -> str:
    """A page's path in the checkout."""
    return path.relative_to(ROOT).as_posix()


def code_blocks(text: str) -> Iterator[CodeBlock]:
    """The blocks of a page; a reason stands in a comment on the line before."""
    for match in _FENCE.finditer(text):
        before = text[: match.start()].rstrip("\n").rsplit("\n", 1)[-1]
        marked = re.fullmatch(r"\s*<!-- not run: (.+) -->", before)
        yield CodeBlock(match[2], match[3], text.count("\n", 0, match.start()) + 1, marked[1] if marked else "")


def paragraphs(text: str) -> Iterator[str]:
    """Running text: paragraphs and items of lists, without tables, headings and code."""
    text = _COMMENT.sub("", _FENCE.sub("\n", text))
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )", text):
        lines = [line.strip() for line in part.splitlines()]
        lines = [line for line in lines if line and not line.startswith(("|", "#", "<", "!["))]
        if lines:
            yield re.sub(r"^(?:[*-]|\d+\.) ", "", " ".join(lines))


def words(sentence: str) -> list[str]:
    """The words of a sentence; code counts as one."""
    return re.findall(r"[^\W_][\w'’.,/-]*", re.sub(r"`[^`]+`", "code", sentence))


def sentences(paragraph: str) -> list[str]:
    """Those of a paragraph that have words."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
    plain = re.sub(r"`[^`]+`", "code", plain).replace("**", "")
    return [sentence for sentence in re.split(r"(?<=[.!?])[)\"']*\s+", plain) if words(sentence)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    found: dict[str, int] = {}
    result = set(re.findall(r"<a id=\"([\w-]+)\"", text))
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("\n", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain))
        count = found[slug] = found.get(slug, -1) + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def links(text: str) -> Iterator[tuple[str, str]]:
    """(file or nothing, anchor or nothing) of every link of a page that leads into the checkout."""
    text = re.sub(r"`[^`\n]+`(?!\])", "", _FENCE.sub("\n", text))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            file, _, anchor = target.partition("#")
            yield file, anchor
