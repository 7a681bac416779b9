"""The commands of a script that are reached."""

from __future__ import annotations

import enum
import re
from dataclasses import replace
from itertools import zip_longest

from kubectl_lossless.doctor.shell.commands import Command, Compound, Function, Item, Pipeline, Script, Simple


class Status(enum.Enum):
    """Exit status of a command, as far as its name shows it."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    UNKNOWN = "unknown"
    EXITS = "exits"  # it ends the script


STATUS = {
    ":": Status.SUCCEEDS,
    "true": Status.SUCCEEDS,
    "echo": Status.SUCCEEDS,
    "set": Status.SUCCEEDS,
    "trap": Status.SUCCEEDS,
    "false": Status.FAILS,
    "exit": Status.EXITS,
}

DURATION = re.compile(r"[0-9]+(\.[0-9]+)?[smhd]?")
"""Argument with which sleep succeeds."""

OPPOSITE = {Status.SUCCEEDS: Status.FAILS, Status.FAILS: Status.SUCCEEDS}

SKIPS = {"&&": Status.FAILS, "||": Status.SUCCEEDS}
"""Status of the command before an operator with which the one behind it is not run."""


def reached(script: Script) -> Script:
    """Return the script without the commands that never run: behind `exit`, or `false &&`."""
    return _reached(script)[0]


def _reached(script: Script) -> tuple[Script, Status]:
    found, status = Script([]), Status.SUCCEEDS
    for item in script.items:
        kept, status = _reached_in_item(item)
        found.items.append(kept)
        if status is Status.EXITS:
            break
    return found, status


def _reached_in_item(item: Item) -> tuple[Item, Status]:
    found = Item([], item.background)
    status = Status.UNKNOWN
    for operator, pipeline in zip(("", *item.operators), item.pipelines, strict=True):
        if operator and status is SKIPS[operator]:
            continue
        certain = not operator or status is not Status.UNKNOWN
        kept, status = _reached_in_pipeline(pipeline)
        if found.pipelines:
            found.operators.append(operator)
        found.pipelines.append(kept)
        if not certain and status is not SKIPS[operator]:
            status = Status.UNKNOWN
        if status is Status.EXITS:
            break
    return found, Status.SUCCEEDS if item.background else status


def _reached_in_pipeline(pipeline: Pipeline) -> tuple[Pipeline, Status]:
    if len(pipeline.commands) > 1:
        return pipeline, Status.UNKNOWN
    command, status = _reached_in_command(pipeline.commands[0])
    return Pipeline([command], pipeline.negated), OPPOSITE.get(status, status) if pipeline.negated else status


def _status(command: Simple) -> Status:
    if command.name == "sleep" and all(DURATION.fullmatch(each.text) for each in command.words[1:]):
        return Status.SUCCEEDS
    return Status.EXITS if command.execs else STATUS.get(command.name, Status.UNKNOWN)


def _reached_in_command(command: Command) -> tuple[Command, Status]:
    if isinstance(command, Function):
        return command, Status.SUCCEEDS
    if isinstance(command, Simple):
        return command, _status(command)
    if command.kind == "if":
        return _reached_in_if(command)
    if command.kind == "loop" and command.conditions:
        _, status = _reached(command.conditions[0])
        if status is (Status.SUCCEEDS if command.until else Status.FAILS):
            return Compound("group", []), Status.SUCCEEDS
    if command.kind not in ("group", "subshell"):
        return replace(command, bodies=[reached(each) for each in command.bodies]), Status.UNKNOWN
    body, status = _reached(command.bodies[0])
    ends_alone = command.kind == "subshell" and status is Status.EXITS
    return Compound(command.kind, [body], command.redirected), Status.UNKNOWN if ends_alone else status


def _reached_in_if(command: Compound) -> tuple[Command, Status]:
    bodies = []
    for body, condition in zip_longest(command.bodies, command.conditions):
        status = _reached(condition)[1] if condition is not None else Status.SUCCEEDS
        if status is not Status.FAILS:
            bodies.append(_reached(body))
        if status is Status.SUCCEEDS:
            break
    else:
        status = Status.UNKNOWN
    kept = [body for body, _ in bodies]
    if not kept:
        return Compound("group", []), Status.SUCCEEDS
    if len(kept) == 1 and status is Status.SUCCEEDS:
        return Compound("group", kept, command.redirected), bodies[0][1]
    return Compound("if", kept, command.redirected), Status.UNKNOWN
