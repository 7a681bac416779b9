"""Translations of a page: their code blocks are the original's, and their structure is compared with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EDITIONS: Mapping[Path, Path] = {ROOT / "docs/zh/rolling-updates.md": ROOT / "docs/rolling-updates.md"}
"""Translated pages and their originals."""

BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
FIGURE = re.compile(r"<!-- figure ([^>]*?) -->")
PICTURE = re.compile(r"!\[[^\]]*\]\((?:\.\./)*(?:docs/)?([^)]*)\)")
ROWS = re.compile(r"^\|.*\|$", re.MULTILINE)

LANGUAGES = {edition.parent.name for edition in EDITIONS}


def terms_of(language: str) -> dict[str, str]:
    """Return the words of generated tables in a language: whole cells, and parts of the titles of updates."""
    found: dict[str, str] = json.loads(Path(__file__).with_name(f"{language}.json").read_text())
    return found


class EditionError(Exception):
    """A translation does not have the original's structure; the message names the first difference."""


@dataclass(frozen=True)
class Section:
    """Properties that a section must share in all editions of a page."""

    level: int
    blocks: int
    figures: list[str]
    pictures: list[str]
    rows: int


def sections(text: str) -> list[Section]:
    """Return the sections of a page, the first of them up to the first heading below the title."""
    bare = BLOCK.sub(lambda _: "\0", text)
    starts = [match.start() for match in HEADING.finditer(bare)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(bare)], strict=True):
        part = bare[start:end]
        level = len(part) - len(part.lstrip("#"))
        figures, pictures = sorted(FIGURE.findall(part)), PICTURE.findall(part)
        found.append(Section(level, part.count("\0"), figures, pictures, len(ROWS.findall(part))))
    return found


def compare(edition: str, original: str) -> None:
    """Raise EditionError where headings, code blocks, figures, pictures or table rows differ."""
    ours, theirs = sections(edition), sections(original)
    titles = re.findall(r"^#+ .*$", BLOCK.sub("", original), re.MULTILINE)
    for title, one, other in zip(titles, ours, theirs, strict=False):
        if one != other:
            raise EditionError(f"{title}: the translation has {one}, the original {other}")
    if len(ours) != len(theirs):
        raise EditionError(f"the translation has {len(ours)} headings, the original {len(theirs)}")


def filled(edition: str, original: str) -> str:
    """Return the translation with the original's code blocks.

    Raises EditionError where it has more or fewer.
    """
    blocks = BLOCK.findall(original)
    if len(BLOCK.findall(edition)) != len(blocks):
        raise EditionError(
            f"the translation has {len(BLOCK.findall(edition))} code blocks, the original {len(blocks)}"
        )
    rest = iter(blocks)
    return BLOCK.sub(lambda _: next(rest), edition)


def translated(page: Path, text: str) -> str:
    """Return the text of a generated figure or table in the language of the page's folder."""
    if page.parent.name not in LANGUAGES or "|" not in text:
        return text
    terms = terms_of(page.parent.name)
    lines = [
        "|".join(f" {_cell(cell.strip(), terms)} " if cell.strip() else cell for cell in line.split("|"))
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def _cell(cell: str, terms: Mapping[str, str]) -> str:
    if cell in terms:
        return terms[cell]
    for word, instead in terms.items():
        if "→" in cell and (word.startswith((",", " ")) or "→" in word):
            cell = cell.replace(word, instead)
    return cell
