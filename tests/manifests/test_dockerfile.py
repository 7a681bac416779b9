"""Agreement of the Dockerfiles with .dockerignore and docs/security.md."""

from __future__ import annotations

import re

import pytest

from tests.process.service import ROOT

LOAD = "packages/kubectl-lossless/Dockerfile"
DOCKERFILES = ("Dockerfile", LOAD, "k8s/envoy/Dockerfile")


def instructions(dockerfile: str) -> list[tuple[str, list[str]]]:
    """Split a Dockerfile into its instructions: the name and the words after it."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split()[0].upper(), line.split()[1:]) for line in lines if line.strip()]


def copied(dockerfile: str, *, last_stage_only: bool = False) -> set[str]:
    """Return the names in the build context that COPY and ADD take."""
    found: set[str] = set()
    for name, words in instructions(dockerfile):
        if name == "FROM" and last_stage_only:
            found = set()
        if name in ("COPY", "ADD") and not any(word.startswith("--from=") for word in words):
            found.update(word.rstrip("/") for word in words[:-1] if not word.startswith("--"))
    return found


def documented() -> set[str]:
    """Return the names that docs/security.md lists as copied into the image."""
    page = (ROOT / "docs/security.md").read_text()
    sentence = re.search(r"only ([`\w/., -]+) and the locked packages are copied", page)
    assert sentence, "docs/security.md no longer says what the image copies"
    return {name.rstrip("/") for name in re.findall(r"`([^`]+)`", sentence[1])}


def test_copy_instructions_are_found() -> None:
    build = "FROM a AS b\nCOPY x .\n# COPY h .\n"
    dockerfile = build + "FROM c\nCOPY --from=b /x /x\nCOPY d/ \\\n  e ./\nADD --chown=1 f g\n"
    assert copied(dockerfile) == {"x", "d", "e", "f"}
    assert copied(dockerfile, last_stage_only=True) == {"d", "e", "f"}


def test_security_page_names_the_copied_files() -> None:
    assert documented() == copied((ROOT / "Dockerfile").read_text(), last_stage_only=True)


def test_dockerignore_sends_the_copied_files_only() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    # Docker's own builder searches no directory for a pattern with a wildcard before the name.
    assert not any("*" in name for name in sent)
    taken = copied((ROOT / "Dockerfile").read_text()) | copied((ROOT / LOAD).read_text())
    assert sent == taken


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_base_image_is_an_argument(dockerfile: str) -> None:
    """Require one argument for all stages, so that a digest is set in one place."""
    found = instructions((ROOT / dockerfile).read_text())
    assert found[0] == ("ARG", ["BASE=python:3.13-slim"])
    assert {words[0] for name, words in found if name == "FROM"} == {"$BASE"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_pip_installs_with_hashes_only(dockerfile: str) -> None:
    runs = [" ".join(words) for name, words in instructions((ROOT / dockerfile).read_text()) if name == "RUN"]
    installs = [run for run in runs if re.search(r"\bpip\b.* install ", run)]
    assert bool(installs) is (dockerfile != LOAD)  # the load needs nothing but Python
    assert all("--require-hashes" in run for run in installs)
