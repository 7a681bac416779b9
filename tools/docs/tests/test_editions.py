"""tools.docs.editions: a translation has its original's structure, commands and figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.docs import editions, figures

ORIGINAL = """# Title

Words.

## First

```console
$ echo 1
1
```

<!-- figure lost of v1 → v2 -->7<!-- end -->
"""
TRANSLATION = ORIGINAL.replace("Title", "标题").replace("First", "第一").replace("echo 1\n1", "echo 2")


@pytest.mark.parametrize("edition", editions.EDITIONS, ids=lambda page: str(page.relative_to(editions.ROOT)))
def test_translation_has_the_structure_and_the_commands_of_its_original(edition: Path) -> None:
    original = editions.EDITIONS[edition].read_text()
    editions.compare(edition.read_text(), original)
    assert editions.BLOCK.findall(edition.read_text()) == editions.BLOCK.findall(original)


@pytest.mark.parametrize("edition", editions.EDITIONS, ids=lambda page: str(page.relative_to(editions.ROOT)))
def test_generated_tables_of_a_translation_have_no_words_left_over(edition: Path) -> None:
    kept = {
        "Pod",
        "EndpointSlice",
        "NodePort",
        "ClusterIP",
        "Ingress",
        "Envoy",
        "preStop",
        "minReadySeconds",
        "Recreate",
    }
    for _, what, of, text, _ in figures.MARK.findall(edition.read_text()):
        words = set(re.findall(r"[A-Za-z]{3,}", text)) - kept
        assert not words, f"{what} of {of}"


def test_code_blocks_of_a_translation_are_filled_from_the_original() -> None:
    assert editions.filled(TRANSLATION, ORIGINAL) == TRANSLATION.replace("echo 2", "echo 1\n1")
    with pytest.raises(editions.EditionError, match="0 code blocks, the original 1"):
        editions.filled("# 标题\n", ORIGINAL)


@pytest.mark.parametrize(
    "changed",
    [
        TRANSLATION.replace("## 第一", "### 第一"),
        TRANSLATION.replace("v1 → v2", "v2 → v3"),
        TRANSLATION + "\n![图](../pictures/v1-v2.svg)\n",
        TRANSLATION + "\n| 一 | 二 |\n",
        TRANSLATION + "\n## 第二\n",
        TRANSLATION + "\n```\n```\n",
    ],
)
def test_another_structure_is_reported(changed: str) -> None:
    editions.compare(TRANSLATION, ORIGINAL)
    with pytest.raises(editions.EditionError, match="the translation has"):
        editions.compare(changed, ORIGINAL)


def test_figures_in_a_table_are_translated_and_in_a_sentence_are_not_changed() -> None:
    page = editions.ROOT / "docs/zh/page.md"
    assert editions.translated(page, "| lost | the drain |") == "| 丢失 | 排空 |"
    assert editions.translated(page, "22.3-23.1 s") == "22.3-23.1 s"
    assert editions.translated(editions.ROOT / "docs/page.md", "| lost |") == "| lost |"
