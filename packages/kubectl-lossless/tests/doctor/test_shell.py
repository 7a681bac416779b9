"""Which process a shell's script leaves in front: by the module, and by the installed shells themselves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kubectl_lossless.doctor import server
from kubectl_lossless.doctor.shell import (
    End,
    Shell,
    ShellError,
    not_in_dash,
    outcome,
    parse,
    reached,
    tokens,
    with_exec,
    without_bash_redirections,
)
from tests.waiting import wait_until

STAYS, REPLACED, LEAVES = End.STAYS, End.REPLACED, End.LEAVES

# script: what dash, bash and busybox do. `b` is the server.
MEASURED: dict[str, tuple[End, End, End]] = {
    "b": (STAYS, REPLACED, REPLACED),
    "A=1 b": (STAYS, REPLACED, REPLACED),
    "a && b": (STAYS, REPLACED, REPLACED),
    "a; b": (STAYS, REPLACED, REPLACED),
    "a\nb\n": (STAYS, REPLACED, STAYS),
    "b 2>&1": (STAYS, STAYS, REPLACED),
    "b; true": (STAYS, STAYS, STAYS),
    "b | cat": (STAYS, STAYS, STAYS),
    "b & wait": (STAYS, STAYS, STAYS),
    "exec b 2>&1": (REPLACED, REPLACED, REPLACED),
    "exec b \\\n": (REPLACED, REPLACED, REPLACED),
    "if true; then exec b; fi": (REPLACED, REPLACED, REPLACED),
    "exec b # comment": (REPLACED, REPLACED, REPLACED),
    "a && exec b || exit 1": (REPLACED, REPLACED, REPLACED),
    "exec b || a": (REPLACED, REPLACED, REPLACED),
    "eval exec b": (REPLACED, REPLACED, REPLACED),
    "eval 'exec b'": (REPLACED, REPLACED, REPLACED),
    "command exec b": (REPLACED, REPLACED, REPLACED),
    "exec 2>&1; b": (STAYS, REPLACED, REPLACED),
    "exec b &> file": (LEAVES, REPLACED, REPLACED),
    "b &>file": (LEAVES, STAYS, REPLACED),
    "b &": (LEAVES, LEAVES, LEAVES),
    "b &\necho started\n": (LEAVES, LEAVES, LEAVES),
    "a &> file; exec b": (REPLACED, REPLACED, REPLACED),
    "if a; then b; fi": (STAYS, STAYS, REPLACED),
    "if a; then b; fi\n": (STAYS, STAYS, STAYS),
    "case x in x) a; b;; esac": (STAYS, STAYS, REPLACED),
    "{ b; }": (STAYS, STAYS, REPLACED),
    "{ b; } > file": (STAYS, STAYS, STAYS),
    "( b ) > file": (STAYS, STAYS, REPLACED),
    "( exec b )": (STAYS, STAYS, REPLACED),
    "for i in 1; do b; done": (STAYS, STAYS, STAYS),
    "for i in 1; do ( exec b ); done": (STAYS, STAYS, STAYS),
    "a; a && b": (STAYS, STAYS, REPLACED),
    "a\na && b": (STAYS, REPLACED, REPLACED),
    "a && a; b": (STAYS, REPLACED, REPLACED),
    "! b": (STAYS, STAYS, STAYS),
    "trap '' INT; b": (STAYS, REPLACED, REPLACED),
    "trap a EXIT; b": (STAYS, STAYS, STAYS),
}
# The same for dash and bash alone.
MORE: dict[str, tuple[End, End]] = {
    "b || exit 1": (STAYS, STAYS),
    "b; exit $?": (STAYS, STAYS),
    "x=0; b || x=$?; exit $x": (STAYS, STAYS),
    "f() { b; }; f": (STAYS, STAYS),
    "f() ( exec b ); f": (STAYS, STAYS),
    "if a; then exec b; else echo no; fi": (REPLACED, REPLACED),
    "for i in 1; do exec b; done": (REPLACED, REPLACED),
    "while a; do if a; then exec b; fi; done": (REPLACED, REPLACED),
    "until a; do a; done; exec b": (REPLACED, REPLACED),
    "exec b &>> file": (LEAVES, REPLACED),
}

# Forms that only bash can read.
OF_BASH: dict[str, End] = {
    'x=(1 "2 3"); exec b "${x[@]}"': REPLACED,
    "x=(1 2)\nb": REPLACED,
    'x=(1); x+=(2); x[5]=3; exec b "${x[@]}"': REPLACED,
    "exec b > >(cat)": REPLACED,
    "b > >(cat)": STAYS,
    "function f { exec b; }; f": REPLACED,
    "function f() { b; }; f": STAYS,
    "time b": STAYS,
    "b |& cat": STAYS,
}
SHELLS = {Shell.DASH: "dash", Shell.BASH: "bash", Shell.BUSYBOX: "busybox"}


CASES = [
    *(
        (script, shell, ends[number])
        for script, ends in MEASURED.items()
        for number, shell in enumerate(SHELLS)
    ),
    *(
        (script, shell, end)
        for script, ends in MORE.items()
        for shell, end in zip(SHELLS, ends, strict=False)
    ),
    *((script, Shell.BASH, end) for script, end in OF_BASH.items()),
]


@pytest.mark.parametrize(("script", "shell", "end"), CASES)
def test_outcome_is_the_measured_one(script: str, shell: Shell, end: End) -> None:
    assert outcome(script, shell).end is end


@pytest.mark.parametrize(("script", "shell", "end"), CASES)
def test_shell_behaves_as_measured(script: str, shell: Shell, end: End, tmp_path: Path) -> None:
    """The server tells its own process: the shell's, where that was replaced."""
    program = shutil.which(SHELLS[shell])
    if program is None:
        pytest.skip(f"{SHELLS[shell]} is not installed")
    for name, text in {"a": "", "b": "echo $$ >pid\n"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    words = [program, *(["sh"] if shell is Shell.BUSYBOX else []), "-c", script]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    process.wait(20)
    pid = tmp_path / "pid"  # of a program in the background, which may be later than the shell's end
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the server's start")
    assert (int(pid.read_text()) == process.pid) == (end is REPLACED)


@pytest.mark.parametrize(
    "script",
    [
        "trap 'kill $p; wait $p' TERM; b & p=$!; wait",
        "trap 'kill -TERM $pid' SIGTERM\nb &\npid=$!\nwait $pid\nwait $pid\n",
        "stop() { kill $pid; wait $pid; }; trap stop TERM; b & pid=$!; wait",
        "trap 'kill $p' TERM; b & p=$!; while kill -0 $p; do wait $p; done",
        'trap "$STOP" TERM; b & wait',
    ],
)
def test_trap_that_passes_the_signal_on_is_recognized(script: str) -> None:
    assert outcome(script, Shell.DASH).end is End.FORWARDS


@pytest.mark.parametrize(
    "script",
    [
        "trap 'kill $p' TERM; b & p=$!; wait",
        "trap exit TERM; b & wait; wait",
        "stop() { echo bye; }; trap stop TERM; b & wait",
        "trap 'kill 0; wait' TERM; b & wait",
    ],
)
def test_trap_that_ends_the_script_before_the_program_is_recognized(script: str) -> None:
    assert outcome(script, Shell.DASH).end is End.ENDS


SLOW = """
import pathlib, signal, sys, time

def stop(*_):
    time.sleep(0.5)
    pathlib.Path("finished").touch()
    sys.exit()

signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").touch()
time.sleep(60)
"""
"""A program that needs half a second to stop."""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("script", "finishes"),
    [
        ("trap 'kill $p' TERM; {b} & p=$!; wait $p", False),
        ("trap 'kill $p; wait $p' TERM; {b} & p=$!; wait $p", True),
        ("trap 'kill $p' TERM; {b} & p=$!; wait $p; wait $p", True),
        ("trap exit TERM; {b} & wait", False),
    ],
)
def test_program_finishes_where_the_trap_waits(
    tmp_path: Path, shell: Shell, script: str, finishes: bool
) -> None:
    """As process 1 of a PID namespace, whose end is the end of the program too."""
    program = shutil.which(SHELLS[shell])
    if program is None:
        pytest.skip(f"{SHELLS[shell]} is not installed")
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be created here")
    (tmp_path / "slow.py").write_text(SLOW)
    text = script.format(b=f"{sys.executable} slow.py")
    expected = End.FORWARDS if finishes else End.ENDS
    assert outcome(text, Shell.DASH).end is expected
    words = [program, *(["sh"] if shell is Shell.BUSYBOX else []), "-c", text]
    process = subprocess.Popen([*unshare, *words], cwd=tmp_path)
    wait_until((tmp_path / "ready").exists, "the program's start")
    (shell_pid,) = psutil.Process(process.pid).children()
    shell_pid.send_signal(signal.SIGTERM)
    process.wait(20)
    assert (tmp_path / "finished").exists() is finishes


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("main() { exec gunicorn a; }; main\ntrue", REPLACED),
        ("if b; then eval 'exec gunicorn a'; fi && exit $?", REPLACED),
        ("if b; then exec gunicorn a; fi; /srv/server", STAYS),
        ("( exec gunicorn a ); true", STAYS),
        ("exec nohup gunicorn a", REPLACED),
    ],
)
def test_server_that_is_reached_by_exec_alone_replaces_the_shell(script: str, end: End) -> None:
    assert outcome(script, Shell.DASH, serves=server.serves).end is end


def test_shell_stays_in_front_of_an_earlier_server() -> None:
    for script in ("gunicorn a; rm x", "f() { gunicorn a; }; f; rm x"):
        assert outcome(script, Shell.BASH, serves=server.serves).end is STAYS
    assert outcome("if b; then exec gunicorn a; fi; rm x", Shell.BASH, serves=server.serves).end is REPLACED


@pytest.mark.parametrize("branch", ["./shell", "echo no", "exit 1", "python manage.py check"])
def test_branch_without_a_server_does_not_count(branch: str) -> None:
    script = f"if b; then exec gunicorn a; else {branch}; fi"
    assert outcome(script, Shell.DASH, serves=server.serves).end is REPLACED
    assert outcome(script.replace("exec ", ""), Shell.DASH, serves=server.serves).end is STAYS


@pytest.mark.parametrize("shell", [Shell.DASH, Shell.BASH])
@pytest.mark.parametrize(
    "script",
    [
        "m 1; exit 0; m 2",
        "false && m 1",
        "true || m 1; m 2",
        "false || m 1 && m 2",
        "! true && m 1",
        "! false && m 1",
        "if false; then m 1; else m 2; fi",
        "if true; then m 1; else m 2; fi",
        "if false; then m 1; elif true; then m 2; else m 3; fi",
        "if false; then m 1; fi; m 2",
        "while false; do m 1; done; m 2",
        "until true; do m 1; done",
        "exec m 1; m 2",
        "{ m 1; exit; }; m 2",
        "(m 1; exit; m 2); m 3",
        "if true; then exit; fi; m 1",
        "m 1 && false && m 2",
        "m 1 || true && m 2",
        ": && { false || m 1; }",
        "false & m 1",
        "exit 1 & m 1",
        "f() { m 1; }; m 2",
        "echo x || m 1",
        "sleep 0 || m 1",
        "set -e && exit 1; m 1",
        "sleep 0.01s && m 1 || true",
        "sleep x 2>/dev/null || m 1",
    ],
)
def test_commands_that_a_shell_runs_are_reached(script: str, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("#!/bin/sh\necho $1 >> ran\n")
    (tmp_path / "m").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = [SHELLS[shell], "-c", script]
    subprocess.run(words, cwd=tmp_path, env=environment, check=False, stdout=subprocess.DEVNULL)
    ran = (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []
    simple = [command.words for command, _ in reached(parse(script, shell)).commands()]
    found = [[each.text for each in words] for words in simple]
    assert [words[-1] for words in found if "m" in words] == ran


@pytest.mark.parametrize(
    ("script", "lacking"),
    [
        ("set -euo pipefail; b", "pipefail (up to 0.5.12)"),
        ("set -o pipefail && b", "pipefail (up to 0.5.12)"),
        ("source env && b", "source"),
        ("set -e; source env; b", "source"),
        ("x=(1 2); b", "arrays"),
        ("x=1; x+=(2); b", "arrays"),
        ("b < <(cat env)", "<()"),
        ("b <<< x", "<<<"),
        ("set -e; source env || true; b", ""),
        ("set -eu; . ./env; b", ""),
        ("echo 'x=(1) <(y) <<< |&'; b", ""),
        ("set -- -e pipe; b", ""),
        ("if true; then b; fi", ""),
    ],
)
def test_script_that_ends_dash_before_its_program_is_known(script: str, lacking: str, tmp_path: Path) -> None:
    (tmp_path / "env").touch()
    (tmp_path / "b").write_text("#!/bin/sh\ntouch started\n")
    (tmp_path / "b").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["dash", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert (tmp_path / "started").exists() is not bool(lacking)
    assert not_in_dash(script) == lacking


@pytest.mark.parametrize("script", ["a && m", "a || m", "a || exit; m", "a && false || m", "a; m || b"])
def test_command_behind_one_of_unknown_status_is_reached(script: str) -> None:
    assert "m" in [command.name for command, _ in reached(parse(script)).commands()]


@pytest.mark.parametrize(
    ("script", "mended"),
    [
        ("b &> file", "b > file 2>&1"),
        ("b &>>file; c", "b >>file 2>&1; c"),
        ("b & > file", "b & > file"),
        ("echo '&> x' &> y", "echo '&> x' > y 2>&1"),
        ("b > file 2>&1", "b > file 2>&1"),
    ],
)
def test_redirection_of_bash_is_rewritten_for_dash(script: str, mended: str) -> None:
    assert without_bash_redirections(script) == mended


@pytest.mark.parametrize(
    "script", ["b >", "b > ; c", "b >>> c", "'", "if a; then b", "b )", "a;;b", "$(", "case x in", "f( b"]
)
def test_script_that_cannot_be_parsed_is_unclear(script: str) -> None:
    with pytest.raises(ShellError):
        parse(script)
    assert outcome(script, Shell.DASH).end is End.UNCLEAR


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("a 'b;c' \"d|e\" f\\ g", ["a", "b;c", "d|e", "f g"]),
        ("a $(b; c) ${d:-e f} `g h`", ["a", "$(b; c)", "${d:-e f}", "`g h`"]),
        ("a # b", ["a"]),
        ("a b#c", ["a", "b#c"]),
        ("cat <<E\nb; c\nE\nd", ["cat", "E", "d"]),
    ],
)
def test_words_are_split_as_by_a_shell(script: str, words: list[str]) -> None:
    assert [each.word.text for each in tokens(script) if each.word] == words


@pytest.mark.parametrize(
    ("script", "mended"),
    [
        ("gunicorn app", "exec gunicorn app"),
        ("PORT=80 gunicorn app", "PORT=80 exec gunicorn app"),
        ("./migrate && gunicorn app \\\n  -w 3\n", "./migrate && exec gunicorn app \\\n  -w 3\n"),
        ("nginx -g 'daemon off;'", "exec nginx -g 'daemon off;'"),
        ("gunicorn app 2>&1", "exec gunicorn app 2>&1"),
        ("gunicorn app; true", None),
        ("gunicorn app &\nnginx", None),
        ("gunicorn app && nginx", None),
        ("while true; do gunicorn app; done", None),
        ("gunicorn app | tee log", None),
        ("f() { gunicorn app; }; f", None),
        ("exec gunicorn app", None),
    ],
)
def test_exec_is_added_only_where_nothing_else_is_missing(script: str, mended: str | None) -> None:
    assert with_exec(script, outcome(script, Shell.DASH), server.serves) == mended
    if mended:
        assert outcome(mended, Shell.DASH).end is REPLACED
