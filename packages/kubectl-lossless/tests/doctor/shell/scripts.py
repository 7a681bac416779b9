"""Generated scripts that end with a server, for comparison with the installed shells."""

from __future__ import annotations

from random import Random

BEFORE = (
    "a",
    "a",
    "n",
    "a x",
    "A=1 a",
    ":",
    "a >f",
    "echo x",
    "a 2>&1",
    "set +e",
    "export Q=1",
    "trap '' HUP",
)
"""Commands: the program `a` succeeds, `n` fails."""

FRONT = (
    "",
    "",
    "",
    "exec ",
    "exec ",
    "A=1 ",
    "A=1 exec ",
    "exec env ",
    "exec nohup ",
    "eval ",
    "eval exec ",
    "! ",
)
REAR = ("", "", "", " 2>&1", " >f", " x", " </dev/null", " >>f 2>&1")
END = ("", "", "", "\n", " # c", ";", "; true", "\necho x\n")


def generated(random: Random) -> str:
    """Return a script whose last program is the server `b`."""
    return _listed(random, random.choice((0, 1, 1, 2, 2)), server=True) + random.choice(END)


def _listed(random: Random, depth: int, *, server: bool = False) -> str:
    parts = [_joined(random, depth) for _ in range(random.choice((0, 0, 1, 2) if server else (1, 2)))]
    text = "".join(f"{each}{random.choice(('; ', chr(10), ' & '))}" for each in parts)
    return text + _joined(random, depth, server=True) if server else text.rstrip("; \n&")


def _joined(random: Random, depth: int, *, server: bool = False) -> str:
    """Return commands joined by `&&`, `||` and, seldom, a pipe; the server is the last of them."""
    text = ""
    for _ in range(random.choice((0, 0, 1, 2))):
        text += _command(random, depth) + random.choice((" && ", " && ", " || "))
    if random.random() < 0.05:
        text += "a | "
    return text + _command(random, depth, server=server)


def _command(random: Random, depth: int, *, server: bool = False) -> str:
    if not depth or random.random() < 0.5:
        if not server:
            return random.choice(BEFORE)
        return f"{random.choice(FRONT)}b{random.choice(REAR)}"
    body = _listed(random, depth - 1, server=server) + "\n"
    return {
        "if": f"if {random.choice(('a', '! n', 'a && a'))}; then {body}fi",
        "else": f"if n; then {_listed(random, 0)}\nelse {body}fi",
        "case": f"case x in y) {_listed(random, 0)};; x) {body};; esac",
        "group": f"{{ {body}}}{random.choice(('', ' >f', ' 2>&1'))}",
        "subshell": f"({body})",
        "for": f"for i in 1; do {body}done",
        "function": f"f{depth}() {{ {body}}}; f{depth}",
    }[random.choice(("if", "else", "case", "group", "subshell", "for", "function"))]
