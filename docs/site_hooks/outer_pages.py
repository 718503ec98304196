"""mkdocs hook: pages that lie outside of ``docs/``, and links between all of them.

A site shows one folder. The changelog, benchmarks, recipes and projects stay where they belong in the checkout, and join the site
under the same path. Links are written for the checkout; here they become links of the site, or plain text where they lead to
a file that is no page.
"""

import posixpath
import re
from pathlib import Path

OUTER = ("CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "benchmarks/*.md", "configs/lira/README.md")
OUTER_PROJECTS = ("projects/README.md", "projects/*/README.md")
_LINK = re.compile(
    r"^```.*?^```|(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)|`[^`\n]+`", re.DOTALL | re.MULTILINE
)
"""A link; or a block or span of code, in which there is none."""
_ROLE = re.compile(r":\w+:<code>~?(?P<name>[^<]+)</code>")


def on_files(files, config):
    """Add the outer pages under their paths in the checkout."""
    from mkdocs.structure.files import File  # only here: the tests read these pages without mkdocs

    root = Path(config.config_file_path).parent
    for pattern in (*OUTER, *OUTER_PROJECTS):
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links of the checkout into links of the site."""
    root = Path(config.config_file_path).parent
    source = page.file.src_uri
    folder = posixpath.dirname(source if (root / source).is_file() else f"docs/{source}")

    def replaced(match):
        target, anchor = (match["target"] or "").partition("#")[::2]
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        uri = path.removeprefix("docs/")
        if files.get_file_from_path(uri) is None:
            return match["text"]
        link = posixpath.relpath(uri, posixpath.dirname(source) or ".")
        return f"{match['image']}[{match['text']}]({link}{'#' * bool(anchor)}{anchor})"

    return _LINK.sub(replaced, markdown)


def on_page_content(html, page, config, files):
    """Docstrings name things as Sphinx does; show the last part of such a name."""
    return _ROLE.sub(lambda match: f"<code>{match['name'].rsplit('.', 1)[-1]}</code>", html)
