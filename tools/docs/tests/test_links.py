"""Pages: their links, their text alternatives, and their first sentences."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kubectl_lossless.cli import COMMANDS
from tools.docs.figures import PAGES, ROOT

ALL = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *ROOT.glob("packages/*/README.md"),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub names them."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_index_lists_every_page() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    pages = set((ROOT / "docs").rglob("*.md")) - {index}
    assert pages <= listed, sorted(page.name for page in pages - listed)


def test_every_page_names_its_reader_in_its_first_paragraph() -> None:
    silent = []
    for page in (ROOT / "docs").glob("*.md"):
        first = next(part for part in page.read_text().split("\n\n")[1:] if not part.startswith("["))
        if not re.search(r"\b[Yy]ou\b|^For ", first):
            silent.append(page.name)
    assert not silent


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_file_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # which names those of its time
        return
    text = re.sub(r"^(?:```.*?^```| {4}.*?)$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`((?:[\w-]+/)+[\w.-]+\.(?:css|html|js|json|md|py|svg|yaml|yml))`", text)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    missing = [name for name in named if not re.search(rf"^(?:.*/)?{re.escape(name)}$", listed, re.MULTILINE)]
    assert not missing


def test_commands_page_names_every_target_and_subcommand() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", page)
    assert set(named) == {*targets, "help"}
    assert set(re.findall(r"`kubectl lossless ([a-z]+)`", page)) == set(COMMANDS)


IMAGE = re.compile(r"^( *!\[([^\]]*)\]\(([^)\s]+)\))$", re.MULTILINE)


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_picture_has_a_text_alternative(page: Path) -> None:
    for _, alternative, name in IMAGE.findall(page.read_text()):
        assert len(alternative) > 15, name
        if name.endswith(".svg"):
            tree = ElementTree.fromstring((page.parent / name).read_text())
            space = "{http://www.w3.org/2000/svg}"
            assert tree.get("aria-labelledby") == "title desc", name
            assert len(tree.findtext(f"{space}title", "")) > 5, name
            assert len(tree.findtext(f"{space}desc", "")) > 30, name
