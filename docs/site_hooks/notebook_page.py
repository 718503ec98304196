"""mkdocs hook: the page of the notebook, with the outputs that are stored in it.

In the checkout, links lead to the notebook, which GitHub shows; in the site they lead to its page.
"""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOK, PAGE = "tour.ipynb", "tour.md"


def on_files(files, config):
    """Write the page."""
    from mkdocs.structure.files import File  # only here: the tests read this page without mkdocs

    notebook = Path(config.docs_dir) / NOTEBOOK
    files.append(File.generated(config, PAGE, content=notebook_page(notebook)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to the notebook lead to its page; that page keeps one to the file."""
    return markdown if page.file.src_uri == PAGE else markdown.replace(f"]({NOTEBOOK})", f"]({PAGE})")


def notebook_page(path: Path) -> str:
    """Markdown of a notebook: its texts, its code, and what that showed."""
    parts = [f'<p><a href="../{path.name}" download>Download this notebook</a></p>']
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"```python\n{source}\n```", *(_shown(output) for output in cell["outputs"])]
    title = next(index for index, part in enumerate(parts) if part.startswith("# "))
    return "\n\n".join([parts[title], *parts[:title], *parts[title + 1 :], ""])


def _shown(output: dict[str, Any]) -> str:
    """An output of a cell as HTML, the richest of its forms."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "text/html" in data:
        return "<div>" + re.sub(r"\s*\n\s*", " ", "".join(data["text/html"])) + "</div>"
    for kind in ("image/jpeg", "image/png"):
        if kind in data:
            content = re.sub(r"\s", "", "".join(data[kind]))
            return f'<p><img alt="what the code above shows" src="data:{kind};base64,{content}"></p>'
    text = "".join(data["text/plain"]).strip("\n")
    return "\n".join(["<pre>", *_lines(text), "</pre>"]) if text else ""


def _lines(text: str) -> Iterator[str]:
    """Lines of HTML; an empty one would end the block of HTML in Markdown."""
    for line in text.splitlines():
        yield html.escape(line) or "&nbsp;"
