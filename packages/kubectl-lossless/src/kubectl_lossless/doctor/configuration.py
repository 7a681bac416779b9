"""Gunicorn's configuration file, read without being executed: literal settings, and a call of install()."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PACKAGE = "gunicorn_drain"

INSTALL = "install"
"""Function of PACKAGE that installs the drain."""


@dataclass(frozen=True)
class Configuration:
    """Settings of a configuration file, as far as its text has them."""

    values: Mapping[str, object] = field(default_factory=dict)
    """Settings with literal values."""
    unknown: frozenset[str] = frozenset()
    """Settings whose values only Python computes."""
    installs: bool = False
    """True where it calls gunicorn-drain's install()."""
    policy: float | bool | None = None
    """Maximum of the policy that it passes, in seconds; False: no drain, None: that of the environment."""
    is_complete: bool = True
    """False where it may have settings from elsewhere, or the policy is not known."""


def read(text: str) -> Configuration | None:
    """Return the settings in the text of a configuration file, None where it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    values: dict[str, object] = {}
    unknown: set[str] = set()
    for name, value in _assignments(tree):
        try:
            values[name] = ast.literal_eval(value)
            unknown.discard(name)
        except (ValueError, TypeError):
            unknown.add(name)
            values.pop(name, None)
    call = _install(tree)
    policy, is_known = (None, True) if call is None else _policy(call)
    imports_all = any(
        isinstance(each, ast.ImportFrom) and each.names[0].name == "*" for each in ast.walk(tree)
    )
    return Configuration(values, frozenset(unknown), call is not None, policy, is_known and not imports_all)


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield names and values of assignments; of an unknown place, an expression that is no literal."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from _pairs(node.target, node.value)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _pairs(target, node.value)
        elif not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            for inner in ast.walk(node):  # within `if`, `try` and the like
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id, inner


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its_value in zip(target.elts, value.elts, strict=False):
            yield from _pairs(one, its_value)


def _install(tree: ast.Module) -> ast.Call | None:
    """Return the call of gunicorn-drain's install(), whatever name it was imported by."""
    names = {PACKAGE}
    functions = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname for each in node.names if each.name == PACKAGE and each.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            functions |= {each.asname or each.name for each in node.names if each.name == INSTALL}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(value=ast.Name(id=module), attr="install") if module in names:
                return node
            case ast.Name(id=function) if function in functions:
                return node
    return None


def _policy(call: ast.Call) -> tuple[float | bool | None, bool]:
    """Return the policy of a call as Configuration has it, and whether it is known."""
    policy: Any = next((each.value for each in call.keywords if each.arg == "policy"), None)
    if policy is None:
        return None, all(each.arg is not None for each in call.keywords)
    if isinstance(policy, ast.Constant) and policy.value is None:
        return False, True
    if isinstance(policy, ast.Call) and ast.unparse(policy.func).endswith("DrainPolicy"):
        given = {each.arg: each.value for each in policy.keywords}
        maximum = given.get("maximum", policy.args[2] if len(policy.args) > 2 else ast.Constant(15.0))
        if isinstance(maximum, ast.Constant) and isinstance(maximum.value, int | float):
            return float(maximum.value), True
    return None, False
