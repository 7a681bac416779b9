"""Commands in a page: found, run in one shell in their order, and their output compared.

A command block is fenced as `console`:

    ```console
    $ kubectl get nodes          a command; `> ` continues it on the next line
    NAME    STATUS               its output; names, times and addresses that differ from run to run
    ...                          count as equal, and a line of three dots stands for any lines
    ```

`console exit=1` sets the expected exit status of the block's commands, 0 by default. A block
`console disruptive` disturbs other workloads on the cluster, and runs only on request.
"""

import os
import re
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ANY = "..."
FENCE = re.compile(r"^( *)```console(?: exit=(\d+))?( disruptive)?$")
TIMEOUT = 300.0
"""Timeout of one command, in seconds."""

VARIES = [
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b(flask-deployment)-[0-9a-z]{5,10}(-[0-9a-z]{5})?\b"), r"\1-HASH"),
    (re.compile(r"(pod-template-hash[=:] ?)[0-9a-z]+"), r"\1HASH"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(Z| ?[+-]\d\d:?\d\d)?"), "WHEN"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+\b"), "ADDRESS"),
    (re.compile(r"\[\d+\]"), "[PID]"),
    (re.compile(r"\b\d+(\.\d+)?( s|ms)\b"), "TIME"),
    (re.compile(r"\b(\d+[smhd])+\b"), "AGE"),
    (re.compile(r"\s+"), " "),
]
"""Patterns of text that differs from run to run, each with its replacement in a comparison."""


class PageError(Exception):
    """A page that cannot be run or is not true; the message has the line and the reason."""


@dataclass(frozen=True)
class Step:
    """One command of a page. `line` counts from 1; `indent` is that of its block."""

    line: int
    command: str
    output: tuple[str, ...]
    status: int
    indent: str = ""
    disruptive: bool = False


def steps(text: str) -> list[Step]:
    """Return the commands of a page in their order.

    Raises PageError for a block that is not closed or begins with no command.
    """
    found: list[Step] = []
    block: re.Match[str] | None = None
    fresh = False  # True while the block has no command
    for number, line in enumerate(text.splitlines(), 1):
        if block is None:
            block, fresh = FENCE.match(line), True
            continue
        inner = line.removeprefix(block[1])
        if inner == "```":
            block = None
        elif inner.startswith("$ "):
            found.append(Step(number, inner[2:], (), int(block[2] or 0), block[1], bool(block[3])))
            fresh = False
        elif fresh:
            raise PageError(
                f"line {number}: a console block begins with a command, `$ ...`; this is {line!r}"
            )
        elif inner.startswith("> ") and not found[-1].output:
            found[-1] = replace(found[-1], command=f"{found[-1].command}\n{inner[2:]}")
        else:
            found[-1] = replace(found[-1], output=(*found[-1].output, inner))
    if block is not None:
        raise PageError("the last console block is not closed")
    return found


def alike(line: str) -> str:
    """Return a line without the text that differs from run to run."""
    for pattern, instead in VARIES:
        line = pattern.sub(instead, line)
    return line.strip()


def matches(expected: Sequence[str], actual: Sequence[str]) -> bool:
    """Return whether the output is as the page shows it."""
    # places: possible numbers of actual lines that are matched so far.
    places = {0}
    have = [alike(line) for line in actual if line.strip()]
    for want in (line for line in expected if line.strip()):
        if want.strip() == ANY:
            places = set(range(min(places), len(have) + 1)) if places else places
        else:
            places = {at + 1 for at in places if at < len(have) and have[at] == alike(want)}
    return len(have) in places


class Shell:
    """Bash in which the commands run one after the other, as in the reader's terminal."""

    def __init__(self, folder: Path) -> None:
        # A separate session, so that all processes of a command can be terminated with the shell.
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],  # noqa: S607 - the reader's own bash
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "200"},
        )

    def __enter__(self) -> "Shell":
        """Return the shell, which is running."""
        return self

    def __exit__(self, *_: object) -> None:
        """Terminate the shell and the processes that it has started."""
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, command: str, timeout: float = TIMEOUT) -> tuple[list[str], int]:
        """Run a command and return the lines of its output and its exit status.

        Raises PageError if it takes more than `timeout` seconds or ends the shell.
        """
        process, mark = self._process, secrets.token_hex(8)
        assert process.stdin is not None  # noqa: S101 - for mypy: they were opened as pipes
        assert process.stdout is not None  # noqa: S101 - the same
        process.stdin.write(f"{command}\nprintf '\\n{mark} %s\\n' $?\n".encode())
        process.stdin.flush()
        said, until = b"", time.monotonic() + timeout
        end = re.compile(rb"\n%s (\d+)\n" % mark.encode())
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not (over := end.search(said)):
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise PageError(f"not over after {timeout:.0f} s: {command}\n{said.decode()}")
                more = os.read(process.stdout.fileno(), 65536)
                if not more:
                    raise PageError(f"the shell ended: {command}\n{said.decode()}")
                said += more
        return said[: over.start()].decode().splitlines(), int(over[1])


def run(page: Path, folder: Path, *, rewrite: bool = False, disruptive: bool = False) -> list[str]:
    """Run a page's commands in a folder and return a text for each one whose output differs from the page.

    The run stops at the first wrong exit status, because later commands depend on it. `rewrite` puts the real
    output in place of different output in the page; `disruptive` runs the disruptive blocks, too. Raises
    PageError.
    """
    text = page.read_text()
    lines = text.splitlines()
    wrong: list[str] = []
    moved = 0
    with Shell(folder) as shell:
        for step in steps(text):
            if step.disruptive and not disruptive:
                continue
            actual, status = shell.run(step.command)
            shown = "\n".join(actual)
            if status != step.status:
                ended = f"exit status {status}, not {step.status}"
                wrong.append(f"{page.name}:{step.line}: {ended}: {step.command}\n{shown}")
                break
            if matches(step.output, actual):
                continue
            said = "\n".join(step.output)
            wrong.append(f"{page.name}:{step.line}: {step.command}\nThe page says:\n{said}\nIt was:\n{shown}")
            if rewrite:
                start = step.line + moved + step.command.count("\n")
                lines[start : start + len(step.output)] = [f"{step.indent}{line}" for line in actual]
                moved += len(actual) - len(step.output)
    if rewrite and wrong:
        page.write_text("\n".join(lines) + "\n")
    return wrong
