"""The guides: they read easily, their links lead somewhere, their code runs, and what the code names is in them."""

import contextlib
import io
import re
import shlex
import sys

import pytest
import yaml
from support.guide_texts import DOCS, GUIDES, PAGES, anchors, code_blocks, links, name_of, paragraphs, sentences, words
from support.paths import ROOT

from lira_plugin import command

LONGEST_PARAGRAPH, SENTENCE = 80, 18
"""Words that a paragraph may have at most, and a sentence on average."""
RUN_ELSEWHERE = {"docs/parts.md": "tests/integration/test_docs.py", "README.md": "tests/integration/test_readme.py"}
"""Pages whose code another file of tests runs or checks."""
TROUBLE = DOCS / "troubleshooting.md"
by_guide = pytest.mark.parametrize("guide", GUIDES, ids=name_of)
by_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@by_guide
def test_a_guide_reads_easily(guide):
    found = list(paragraphs(guide.read_text()))
    long = [paragraph for paragraph in found if len(words(paragraph)) > LONGEST_PARAGRAPH]
    assert not long, f"split these paragraphs of more than {LONGEST_PARAGRAPH} words:\n" + "\n\n".join(long)
    lengths = [len(words(sentence)) for paragraph in found for sentence in sentences(paragraph)]
    assert not lengths or sum(lengths) / len(lengths) <= SENTENCE, f"{sum(lengths) / len(lengths):.1f} words a sentence"


def test_the_readme_is_read_in_two_minutes():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150 and sum(len(words(paragraph)) for paragraph in paragraphs(text)) <= 500


@by_page
def test_links_lead_to_files_and_headings(page):
    for file, anchor in links(page.read_text()):
        target = page.parent / file if file else page
        assert target.exists(), f"there is no {file}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"{file or page.name} has no heading #{anchor}"


@by_guide
def test_code_runs_in_a_test_or_says_why_not(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    shown: list[str] = []
    for block in code_blocks(guide.read_text()):
        where = f"{name_of(guide)}, line {block.line}"
        if name_of(guide) in RUN_ELSEWHERE or block.language not in ("bash", "python"):
            continue
        if block.reason:
            for file in re.findall(r"tests/[\w./]+", block.reason):
                assert (ROOT / file.rstrip(".")).exists(), f"{where}: there is no {file}"
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block.code, where, "exec"), names)
            shown.append(printed.getvalue())
        else:
            for line in block.code.splitlines():
                run_command(shlex.split(line, comments=True), where, monkeypatch)
    assert not shown or shown[-1], f"{name_of(guide)}: the last example shows what it made"


def run_command(line: list[str], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``uv run lira ...`` in this process."""
    assert line[:3] == ["uv", "run", "lira"], f"{where}: say why no test runs {' '.join(line)!r}: <!-- not run: ... -->"
    monkeypatch.setattr(sys, "argv", line[2:])
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            command.main(line[3:])
        except SystemExit as ended:
            assert not ended.code, f"{where}: {ended.code}"


def test_files_and_functions_beside_the_concepts_exist():
    engine = (ROOT / "lira_plugin" / "models" / "generation" / "engine.py").read_text()
    functions = re.findall(r"`(_\w+)`", (DOCS / "concepts" / "algorithm_1.md").read_text())
    assert len(functions) >= 7 and all(f"def {function}(" in engine for function in functions), functions
    for page in (DOCS / "concepts").glob("*.md"):
        files = re.findall(r"`(lira_plugin/[\w/]+(?:\.py)?)`", page.read_text())
        assert files and all((ROOT / file).exists() for file in files), page.name


def test_the_errors_that_name_a_heading_have_it():
    named = {
        anchor
        for folder in ("lira_plugin", "tools")
        for path in (ROOT / folder).rglob("*.py")
        for anchor in re.findall(r"docs/troubleshooting\.md#([\w-]+)", path.read_text())
    }
    assert len(named) >= 20 and named <= anchors(TROUBLE.read_text()), named - anchors(TROUBLE.read_text())


def test_every_trouble_has_a_cause_and_a_way_out():
    entries = re.split(r"^### ", TROUBLE.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) >= 25
    for entry in entries:
        assert "- **Cause:**" in entry and "- **Way out:**" in entry, entry.splitlines()[0]


def pages_of(nav) -> list[str]:
    """The pages of a navigation, whatever lies in whatever."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(entry)]


def test_the_navigation_of_the_site_has_every_page_and_no_other(monkeypatch):
    pages = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    monkeypatch.syspath_prepend(DOCS / "site_hooks")
    import command_pages
    import component_pages
    import notebook_page
    import outer_pages

    written = {
        command_pages.PAGE,
        notebook_page.PAGE,
        "reference/components.md",
        *(f"reference/api/{n}.md" for n in component_pages.API),
    }
    outer = {
        path.relative_to(ROOT).as_posix()
        for pattern in (*outer_pages.OUTER, *outer_pages.OUTER_PROJECTS)
        for path in ROOT.glob(pattern)
    }
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    expected = written | outer | own
    assert len(set(pages)) == len(pages)
    assert not expected - set(pages), f"nav of mkdocs.yml lacks {sorted(expected - set(pages))}"
    assert not set(pages) - expected, f"nav of mkdocs.yml has pages that are not there: {sorted(set(pages) - expected)}"


def test_the_page_of_commands_has_every_tool_and_its_options(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "site_hooks")
    from command_pages import commands_page

    page = commands_page(ROOT)
    for name in command.tools():
        assert f"## lira {name}\n" in page and f"](#lira-{name})" in page
    for option in ("--out-dir", "--threshold", "--no-coarse", "--workers", "--inherit", "`mix`", "`consolidate-zero`"):
        assert option in page


def test_the_tour_reads_easily_and_has_its_pictures(monkeypatch):
    """Of the notebook as it is stored: it was run, and is small enough to be shown."""
    monkeypatch.syspath_prepend(DOCS / "site_hooks")
    from notebook_page import NOTEBOOK, notebook_page

    page = notebook_page(DOCS / NOTEBOOK)
    assert page.startswith("# ") and page.count("data:image/jpeg;base64,") >= 8
    assert (DOCS / NOTEBOOK).stat().st_size < 300_000 and str(ROOT) not in page
    text = re.sub(r"<(pre|div|p)>.*?</\1>", "", page, flags=re.DOTALL)
    assert all((DOCS / file).is_file() for file, _ in links(text)) and len(list(links(text))) >= 4
    found = list(paragraphs(text))
    assert len(found) > 10 and max(len(words(paragraph)) for paragraph in found) <= LONGEST_PARAGRAPH
    lengths = [len(words(sentence)) for paragraph in found for sentence in sentences(paragraph)]
    assert sum(lengths) / len(lengths) <= SENTENCE


def test_every_public_module_has_its_page(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "site_hooks")
    from component_pages import API, api_page

    for name, (module, about) in API.items():
        page = api_page(ROOT, name, module, about)
        assert page.count("::: lira_plugin.") >= 3, name
    assert "::: lira_plugin.models.lira.LIRA\n" in api_page(ROOT, "models", *API["models"])
