"""tools.docs.blocks: the commands of a page are found, run and compared, and differences are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.docs.blocks import PageError, Shell, Step, matches, run, steps

PAGE = """Words, and `$ no command`.

```console
$ x=3
$ echo "$x" \\
> and more
3 and more
```

```sh
$ false
```

   ```console exit=1
   $ diff <(echo a) <(echo b)
   1c1
   ...
   > b
   ```
"""


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


def test_only_console_blocks_hold_commands() -> None:
    assert steps(PAGE) == [
        Step(4, "x=3", (), 0),
        Step(5, 'echo "$x" \\\nand more', ("3 and more",), 0),
        Step(15, "diff <(echo a) <(echo b)", ("1c1", "...", "> b"), 1, "   "),
    ]


@pytest.mark.parametrize(
    ("text", "says"), [("```console\nls\n```\n", "line 2"), ("```console\n$ ls\n", "not closed")]
)
def test_malformed_page_is_reported(text: str, says: str) -> None:
    with pytest.raises(PageError, match=says):
        steps(text)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        (["a"], ["a", "b"], False),
        (["..."], [], True),
        (["a", "...", "c"], ["a", "b", "b", "c"], True),
        (["...", "c"], ["c", "b", "c"], True),
        (["...", "c"], ["c", "b"], False),
        (["flask-deployment-7d9b8c5f6d-2xkqz 1/1 3s"], ["flask-deployment-5c9f84d7b6-9pqrs  1/1 2m4s"], True),
        (["flask-deployment-7d9b8c5f6d-2xkqz 1/1 3s"], ["other-7d9b8c5f6d-2xkqz 1/1 3s"], False),
        (["ready 1/3"], ["ready 2/3"], False),
        (["in 5.0 s from 10.0.0.1"], ["in 5.31 s from 10.2.3.4"], True),
    ],
)  # fmt: skip
def test_only_names_times_and_addresses_may_differ(
    expected: list[str], actual: list[str], same: bool
) -> None:
    assert matches(expected, actual) is same


def test_true_page_has_no_differences(tmp_path: Path) -> None:
    assert run(page(tmp_path, PAGE), tmp_path) == []


def test_different_output_is_reported_and_can_be_written_into_the_page(tmp_path: Path) -> None:
    text = "```console\n$ echo one; echo two\nzwei\n$ echo three\nthree\n```\n"
    path = page(tmp_path, text)
    (wrong,) = run(path, tmp_path, rewrite=True)
    assert wrong == "page.md:2: echo one; echo two\nThe page says:\nzwei\nIt was:\none\ntwo"
    assert path.read_text() == text.replace("zwei", "one\ntwo")
    assert run(path, tmp_path) == []


def test_wrong_exit_status_ends_the_page(tmp_path: Path) -> None:
    (wrong,) = run(page(tmp_path, "```console\n$ ls nothing-there\n...\n$ touch after\n```\n"), tmp_path)
    assert wrong.startswith("page.md:2: exit status 2, not 0: ls nothing-there\n")
    assert not (tmp_path / "after").exists()


def test_command_is_terminated_at_its_timeout(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell, pytest.raises(PageError, match="not over after 1 s: cat"):
        shell.run("cat", timeout=1)
