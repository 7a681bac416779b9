"""Helpers of the doctor's tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from kubectl_lossless.doctor.checks import examine
from kubectl_lossless.doctor.documents import resolve_as_kubectl
from kubectl_lossless.doctor.finding import REMOVE, Finding, Severity, apply
from kubectl_lossless.doctor.server.model import Overrides
from kubectl_lossless.doctor.source.files import from_files
from kubectl_lossless.doctor.source.loaded import Loaded
from kubectl_lossless.doctor.source.selection import Selection
from kubectl_lossless.doctor.workload import Workload

Object = dict[str, Any]

LOSES, RISKS, ADVICE, UNKNOWN = Severity

HERE = Path(__file__).parent
CASES = HERE / "cases"
EXAMPLES = HERE / "examples"

# libyaml's, which every wheel of PyYAML has: the tests read and write thousands of manifests.
Loader = yaml.CSafeLoader


class Dumper(yaml.CSafeDumper):
    """PyYAML's dumper, with quotes for text that kubectl takes for a number or a boolean, such as 2e1, y."""


resolve_as_kubectl(Dumper)


def load(text: str | bytes, overrides: Overrides = Overrides(), **selection: Any) -> Loaded:  # noqa: B008 - frozen
    """Load manifests as standard input has them."""
    data = text.encode() if isinstance(text, str) else text
    return from_files(Selection(files=["-"], **selection), io.BytesIO(data), overrides)


def dump(objects: Sequence[Object]) -> str:
    return yaml.dump_all(objects, sort_keys=False, Dumper=Dumper)


def parse(text: str) -> list[Object]:
    return [each for each in yaml.load_all(text, Loader) if each is not None]


def _workloads(text: str, overrides: Overrides) -> Sequence[Workload]:
    loaded = load(text, overrides)
    assert not loaded.refused, [str(each) for each in loaded.refused]
    return loaded.workloads


def only(text: str, overrides: Overrides = Overrides()) -> Workload:  # noqa: B008 - frozen
    """Return the one workload of a manifest."""
    (found,) = _workloads(text, overrides)
    return found


def findings(text: str, overrides: Overrides = Overrides()) -> list[Finding]:  # noqa: B008 - frozen
    """Return what the checks find in a manifest, of which no document may be refused."""
    return [each for workload in _workloads(text, overrides) for each in examine(workload).findings]


def of(check: str, found: list[Finding]) -> Finding:
    """Return the one finding of a check."""
    (one,) = (each for each in found if each.check == check)
    return one


def brief(found: Sequence[Finding]) -> set[tuple[Severity, str]]:
    return {(each.severity, each.check) for each in found}


def base(*changes: Any) -> list[Object]:
    """Return the objects of the case in which only advice is found, changed by functions of them."""
    objects = parse((CASES / "00-base.yaml").read_text())
    for change in changes:
        change(objects)
    return objects


def container(objects: Sequence[Object]) -> Object:
    """Return the base's container."""
    found: Object = objects[0]["spec"]["template"]["spec"]["containers"][0]
    return found


def mended(objects: Sequence[Object], found: Sequence[Finding]) -> None:
    """Apply the changes of findings to the objects that they name, removals of list entries last."""
    removals = []
    for finding in found:
        target = next(
            each for each in objects if f"{each['kind']} {each['metadata']['name']}" == finding.object
        )
        for change in finding.changes:
            if change.value is REMOVE and isinstance(change.path[-1], int):
                removals.append((target, change))
            else:
                apply(target, change)
    for target, change in sorted(removals, key=lambda each: str(each[1].path), reverse=True):
        apply(target, change)
