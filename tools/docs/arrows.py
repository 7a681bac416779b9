"""Picture of the imports between packages in docs/architecture.md, drawn from the imports in the code."""

from __future__ import annotations

from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- arrows -->\n", "<!-- end of arrows -->\n"

TOOLS = sorted(f"tools.{path.parent.name}" for path in ROOT.glob("tools/*/__init__.py"))
PIECES = ("app", "gunicorn_drain", "gunicorn_fast", "kubectl_lossless", *TOOLS)
"""Packages that are drawn as one box each; `tools` has a box for each tool."""


def arrows() -> list[tuple[str, str]]:
    """Return the pairs of pieces of which the first imports the second, also only for types."""
    graph = grimp.build_graph(*dict.fromkeys(piece.partition(".")[0] for piece in PIECES), cache_dir=None)
    found = set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            first, second = _piece(importer), _piece(imported)
            if first and second and first != second:
                found.add((first, second))
    return sorted(found)


def picture() -> str:
    """Return the picture in Mermaid, and the same as text for readers who cannot see it."""
    pairs = arrows()
    drawn = [f"    {first} --> {second}" for first, second in pairs]
    imported: dict[str, list[str]] = {}
    for first, second in pairs:
        imported.setdefault(first, []).append(f"`{second}`")
    sentences = [f"`{first}` imports {' and '.join(seconds)}." for first, seconds in imported.items()]
    return "\n".join(["```mermaid", "flowchart LR", *drawn, "```", "", *sentences]) + "\n"


def filled(text: str) -> str:
    """Return the page with the present picture."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + picture() + "\n" + END + rest.split(END)[1]


def _piece(module: str) -> str:
    return next((each for each in PIECES if module == each or module.startswith(each + ".")), "")
