"""Every suggested change, made: the manifest stays valid, the finding goes, scripts start the server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest

from doctor.all_kinds import ALL, manifest
from doctor.helpers import CASES, EXAMPLES, LOSES, RISKS, Object, dump, findings, load, mended, parse
from kubectl_lossless.doctor.finding import Finding
from kubectl_lossless.doctor.server.command_line import program as behind_wrappers
from kubectl_lossless.doctor.server.programs import serves
from kubectl_lossless.doctor.shell.parser import parse as parse_script
from kubectl_lossless.doctor.source.loaded import SourceError
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

KUBERNETES = kubernetes_validate.latest_version()

# kubernetes-validate reads 2 MB of JSON for each object; here they are read once. Nothing changes them.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
kubernetes_validate.utils.all_versions = cache(kubernetes_validate.utils.all_versions)
kubernetes_validate.utils.major_minor = cache(kubernetes_validate.utils.major_minor)

START = 30.0
"""Seconds that a script may take to start its server, and the server to end."""


NAMES = [*ALL, *sorted(each.stem for each in (*CASES.glob("*.yaml"), *EXAMPLES.glob("*.yaml")))]


def examined(name: str) -> tuple[str, Sequence[Finding]]:
    """Return a manifest's text and its findings."""
    if name in ALL:
        text = dump(manifest(name))
    else:
        (path,) = (*CASES.glob(f"{name}.yaml"), *EXAMPLES.glob(f"{name}.yaml"))
        try:
            if load(path.read_bytes()).refused:
                return "", ()
        except SourceError:
            return "", ()
        text = dump([each for each in parse(path.read_text()) if each.get("items", each)])
    return text, findings(text)


PACES = {"canary": ("maxSurge", "maxUnavailable"), "rollingParams": ("maxSurge", "maxUnavailable")}
"""Fields of these strategies that are those of a Deployment's rollingUpdate."""


def as_deployment(found: Object) -> Object:
    """Return the Deployment with the pods and the pace of an Argo Rollout or a DeploymentConfig.

    Kubernetes has no schema of these kinds. What they share with a Deployment has the same types in it.
    """
    spec = {name: value for name, value in found["spec"].items() if name in SHARED}
    spec["selector"] = {"matchLabels": {"app": "web"}}
    for name, fields in PACES.items():
        pace = (found["spec"].get("strategy") or {}).get(name) or {}
        if shared := {field: pace[field] for field in fields if field in pace}:
            spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": shared}
    return {**found, "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


SHARED = ("replicas", "minReadySeconds", "progressDeadlineSeconds", "paused", "template")

STRATEGIES = {
    "Rollout": {"canary", "blueGreen"},
    "DeploymentConfig": {"type", "rollingParams", "recreateParams", "customParams", "activeDeadlineSeconds"},
}
"""Fields of the strategy of these kinds that a remedy may leave or set."""


def invalid(objects: list[Object]) -> set[str]:
    """Return what Kubernetes' schema says of objects, Argo Rollouts and DeploymentConfigs included."""
    found = set()
    for each in objects:
        if each["kind"] in STRATEGIES:
            unknown = (each["spec"].get("strategy") or {}).keys() - STRATEGIES[each["kind"]]
            found |= {f"{each['kind']}: unknown field strategy.{name}" for name in unknown}
            if "template" not in each["spec"]:
                continue
            each = as_deployment(each)  # noqa: PLW2901
        if each.get("apiVersion", "").partition("/")[0] not in (
            "v1",
            "apps",
            "policy",
            "autoscaling",
            "networking.k8s.io",
        ):
            continue
        try:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            continue
        except kubernetes_validate.ValidationError as error:
            found.add(f"{each['kind']} {'.'.join(map(str, error.path))}: {error.message}")
    return found


def key(finding: Finding) -> tuple[str, str, str]:
    return finding.check, finding.object, finding.what


def test_there_are_remedies_of_most_checks() -> None:
    manifests, checks = 0, set()
    for name in NAMES:
        found = [each for each in examined(name)[1] if each.changes]
        manifests += bool(found)
        checks |= {each.check for each in found}
        if manifests > 60 and len(checks) > 20:
            return
    pytest.fail(f"{manifests} manifests with changes, of {sorted(checks)}")


@pytest.mark.parametrize("name", NAMES)
def test_changes_mend_their_findings_and_break_nothing(name: str, tmp_path: Path) -> None:
    text, found = examined(name)
    before = [each for each in found if each.changes]
    if not before:
        pytest.skip("no change is suggested")
    original, objects = parse(text), parse(text)
    mended(objects, before)
    changed = [number for number, each in enumerate(objects) if each != original[number]]
    assert invalid([objects[each] for each in changed]) <= invalid([original[each] for each in changed])
    after = findings(dump(objects))
    left = {key(each) for each in after}
    assert not [each for each in before if key(each) in left]
    known = {each.check for each in found}
    assert not [each for each in after if each.severity in (LOSES, RISKS) and each.check not in known]
    scripts = [each for each in before if each.check == "shell-entrypoint"]
    if scripts:
        (finding,) = scripts
        assert_script_starts_the_server_in_place_of_the_shell(parse(text), finding, tmp_path)


# ---- scripts -------------------------------------------------------------------------------------------

SERVER = """#!/bin/sh
trap 'echo TERM >>{log}; exit 0' TERM
echo started >>{log}
while :; do sleep 0.05; done
"""


def shell_and_script(objects: list[Object], finding: Finding) -> tuple[list[str], str]:
    """Return the command line of the mended container, and its script."""
    (change,) = finding.changes
    container: Object = objects[0]
    for each in change.path[:5]:
        container = container[each]  # type: ignore[index]
    words = [*container.get("command", []), *container.get("args", [])]
    return words, str(change.value)


def assert_script_starts_the_server_in_place_of_the_shell(
    objects: list[Object], finding: Finding, tmp_path: Path
) -> None:
    """Run the script of a finding's change, with programs that record their start and a SIGTERM."""
    mended(objects, [finding])
    words, text = shell_and_script(objects, finding)
    assert subprocess.run(["sh", "-n", "-c", text], check=False).returncode == 0
    log, folder = tmp_path / "log", tmp_path / "bin"
    folder.mkdir()
    programs = {command.words[0].text for command, _ in parse_script(text).commands() if command.words}
    served = [command for command, _ in parse_script(text).commands() if command.name == "exec"]
    programs |= {each.words[1].text for each in served}
    for command, _ in parse_script(text).commands():
        if command.name == ".":
            (tmp_path / command.words[1].text).touch()
    for program in (programs | {"nc"}) - {"exec", "."}:
        is_server = serves([program]) or any(each.words[1].text == program for each in served)
        target = tmp_path / program if "/" in program else folder / program
        target.write_text(SERVER.format(log=log) if is_server else "#!/bin/sh\nexit 0\n")
        target.chmod(0o755)
    words = behind_wrappers(words)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    process = subprocess.Popen(words, cwd=tmp_path, env=environment)
    try:
        wait_until(lambda: log.exists() and "started" in log.read_text(), "the program's start", START)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START) == 0
        assert log.read_text() == "started\nTERM\n"
    finally:
        process.kill()
        process.wait()
