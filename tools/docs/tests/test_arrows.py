"""tools.docs.arrows: the picture in docs/architecture.md."""

from __future__ import annotations

import re

from tools.docs import arrows

PACKAGES = {"gunicorn_drain", "gunicorn_fast", "kubectl_lossless"}


def test_picture_shows_the_imports_of_today() -> None:
    text = arrows.PAGE.read_text()
    assert text == arrows.filled(text), "run python -m tools.docs arrows"


def test_no_package_imports_the_sample_or_a_tool() -> None:
    pairs = arrows.arrows()
    assert pairs
    assert not [(first, second) for first, second in pairs if first in PACKAGES and second not in PACKAGES]


def test_every_file_and_function_that_the_page_names_exists() -> None:
    text = arrows.PAGE.read_text()
    sources = [
        path
        for folder in ("app", "packages", "tools", "tests", "k8s", "docs")
        for path in (arrows.ROOT / folder).rglob("*")
    ]
    names = {str(path.relative_to(arrows.ROOT)) for path in sources}
    code = "\n".join(path.read_text() for path in sources if path.suffix == ".py")
    missing = []
    for word in re.findall(r"`([\w./]+\.py|[\w./]+/)`", text):
        path = word.rstrip("/")
        if not (arrows.ROOT / path).exists() and not any(name.endswith("/" + path) for name in names):
            missing.append(word)
    for owner, name in re.findall(r"`(?:([A-Z]\w+)\.)?(_?[a-z]\w*)(?:\(\))?`", text):
        if owner and not re.search(rf"def {name}\b", code):
            missing.append(f"{owner}.{name}")
    assert not missing
