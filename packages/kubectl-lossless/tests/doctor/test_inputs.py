"""Inputs of every form: encodings, peculiarities of YAML, wrong types, files that are no manifests."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from doctor.helpers import CASES, parse
from kubectl_lossless.doctor.__main__ import main

BASE = "# A comment.\n" + (CASES / "00-base.yaml").read_text()
OBJECTS = parse(BASE)
DEPLOYMENT = BASE.partition("---\n")[0]
COMMAND = "        command:\n        - /srv/server\n"
PORTS = "        ports:\n        - name: http\n          containerPort: 8000"
HANDLER = "          httpGet:\n            path: /ready\n            port: http"
READINESS = (
    f"        readinessProbe:\n{HANDLER}\n          periodSeconds: 2\n          timeoutSeconds: 2\n"
    "          failureThreshold: 2"
)
HOOK = (
    "          preStop:\n            exec:\n              command:\n              - sleep\n"
    "              - '15'"
)


def changed(old: str, new: str) -> str:
    """Return the base with a change of its text."""
    assert old in BASE
    return BASE.replace(old, new, 1)


def with_variable(value: str) -> str:
    """Return the base with an environment variable, its value as it is written in YAML."""
    return changed(COMMAND, f"{COMMAND}        env:\n        - {{name: A, value: {value}}}\n")


# The input, the exit status, and a part of what is said of it.
INPUTS: dict[str, tuple[str | bytes, int, str]] = {
    "anchor and merge of a container": (
        changed(
            "      containers:\n      - name: web\n", "      containers:\n      - &c\n        name: web\n"
        ),
        0,
        "",
    ),
    "merge key at the top of labels": (
        changed(
            "      labels:\n        app: web\n",
            "      labels:\n        <<: {app: web}\n        tier: front\n",
        ),
        0,
        "",
    ),
    "BOM and CRLF": (codecs.BOM_UTF8 + BASE.replace("\n", "\r\n").encode(), 0, ""),
    "marker with a comment": (BASE.replace("---\n", "--- # Source: shop/templates/x.yaml\n"), 0, ""),
    "YAML directive": ("%YAML 1.1\n---\n" + BASE, 0, ""),
    "YAML 1.2 directive": ("%YAML 1.2\n---\n" + BASE, 0, ""),
    "document ends": (BASE.replace("---\n", "...\n---\n"), 0, ""),
    "marker first and last": ("---\n" + BASE + "---\n", 0, ""),
    "empty documents between": (BASE.replace("---\n", "---\n---\n# nothing\n---\n"), 0, ""),
    "List": (json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}), 0, ""),
    "List in a List": (
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [{"apiVersion": "v1", "kind": "List", "items": OBJECTS}],
            }
        ),
        0,
        "",
    ),
    "DeploymentList": (
        json.dumps(
            {
                "apiVersion": "apps/v1",
                "kind": "DeploymentList",
                "metadata": {"resourceVersion": "1"},
                "items": [{k: v for k, v in OBJECTS[0].items() if k not in ("kind", "apiVersion")}],
            }
        ),
        0,
        "",
    ),
    "JSON with BOM": (codecs.BOM_UTF8 + json.dumps(OBJECTS[0]).encode(), 0, ""),
    "JSON lines": ("\n".join(json.dumps(d) for d in OBJECTS), 0, ""),
    "JSON with comments": ("// the shop\n" + json.dumps(OBJECTS[0]), 2, "not YAML"),
    "JSON with comments inside": (
        json.dumps(OBJECTS[0], indent=1).replace('"spec"', '// pods\n"spec"', 1),
        2,
        "",
    ),
    "JSON with a trailing comma": (json.dumps(OBJECTS[0])[:-1] + ",}", 0, ""),
    "JSON cut off": (json.dumps(OBJECTS[0])[:-40], 2, ""),
    "JSON array": (json.dumps(OBJECTS), 2, "a list where a Kubernetes object is expected"),
    "list at the top": ("- a: 1\n- b: 2\n", 2, "a list where"),
    "text": ("hello\n", 2, "'hello'"),
    "number": ("42\n", 2, "42"),
    "null": ("null\n", 2, "no workload"),
    "empty": ("", 2, "no workload"),
    "comments alone": ("# nothing here\n# at all\n", 2, "no workload"),
    "markers alone": ("---\n---\n", 2, "no workload"),
    "spaces and newlines": ("  \n\n\t\n", 2, ""),
    "NUL bytes": (b"\x00\x01\x02\xff", 2, ""),
    "PNG": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", 2, "not text"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 2, "not text"),
    "control character": (changed("name: web", "name: w\x07eb"), 2, "not YAML"),
    "UTF-16 LE with a mark": (codecs.BOM_UTF16_LE + BASE.encode("utf-16-le"), 0, ""),
    "UTF-32": (BASE.encode("utf-32"), 2, ""),
    "Windows-1252": (BASE.replace("# A comment.", "# Ra\xe9").encode("latin-1"), 2, "not text"),
    "UTF-16 cut off": (codecs.BOM_UTF16_LE + BASE.encode("utf-16-le")[:-1], 2, "not text"),
    "tabs": (changed("  name: web", "\tname: web"), 2, "not YAML"),
    "duplicate key": (changed("  replicas: 3\n", "  replicas: 3\n  replicas: 4\n"), 2, "written twice"),
    "duplicate env key of a merge": (
        changed("        command:\n", "        <<: {image: x}\n        command:\n"),
        0,
        "",
    ),
    "merge of a text": (
        changed("        command:\n", "        <<: text\n        command:\n"),
        2,
        "merges the text",
    ),
    "missing alias": (changed("replicas: 3", "replicas: *n"), 2, "undefined alias"),
    "unclosed quote": (changed("image: registry.test/web:1", "image: 'registry.test/web:1"), 2, "not YAML"),
    "unclosed bracket": (changed("replicas: 3", "replicas: [3"), 2, "not YAML"),
    "@ at the start": (changed("image: registry.test/web:1", "image: @web"), 2, "not YAML"),
    "% at the start": (changed("image: registry.test/web:1", "image: %web"), 2, "not YAML"),
    "colon in a value": (changed("image: registry.test/web:1", "image: a: b"), 2, "not YAML"),
    "wrong indentation": (changed("    spec:\n      term", "     spec:\n      term"), 2, ""),
    "Jinja": (changed("replicas: 3", "replicas: {{ n }}"), 2, "Helm"),
    "Jinja block": ("{% if x %}\n" + BASE + "{% endif %}\n", 2, ""),
    "ERB": (changed("replicas: 3", "replicas: <%= n %>"), 2, "whole number"),
    "envsubst": (changed("replicas: 3", "replicas: $REPLICAS"), 2, "envsubst"),
    "Helm condition": ("{{- if .Values.on }}\n" + BASE + "{{- end }}\n", 2, "Helm"),
    "image of Helm in quotes": (
        changed("image: registry.test/web:1", 'image: "{{ .Values.image.name }}:{{ .Values.image.tag }}"'),
        2,
        "{{ .Values.image.tag }}'; allowed is an image (does it need Helm first?)",
    ),
    "name of Helm in quotes": (
        changed("  name: web\n", '  name: "{{ .Release.Name }}-web"\n'),
        2,
        "metadata.name is '{{ .Release.Name }}-web'; allowed is a name (does it need Helm first?)",
    ),
    "label of Helm in quotes": (
        changed(
            "        app: web\n    spec", '        app: web\n        v: "{{ .Chart.Version }}"\n    spec'
        ),
        2,
        "labels.v is '{{ .Chart.Version }}'; allowed is a label's value (does it need Helm first?)",
    ),
    "annotation of a template": (
        changed("  name: web\n", "  name: web\n  annotations: {vault: '{{ .Data }}'}\n"),
        0,
        "",
    ),
    "argument of Go's templates": (changed(COMMAND, "        args: ['{{ .Name }}']\n" + COMMAND), 0, ""),
    "custom tag": (changed("image: registry.test/web:1", "image: !Ref image"), 0, ""),
    "binary tag": (changed("path: /ready", "path: !!binary L3JlYWR5"), 0, ""),
    "python tag": (
        changed("image: registry.test/web:1", "image: !!python/object/apply:os.system [id]"),
        2,
        "",
    ),
    "set tag": (changed("replicas: 3", "replicas: !!set {3}"), 2, ""),
    "replicas in quotes": (
        changed("replicas: 3", "replicas: '3'"),
        2,
        "spec.replicas is '3'; allowed is a whole number",
    ),
    "replicas as a float": (changed("replicas: 3", "replicas: 3.0"), 0, ""),
    "replicas 2.5": (changed("replicas: 3", "replicas: 2.5"), 2, "whole number"),
    "replicas true": (changed("replicas: 3", "replicas: yes"), 2, "true"),
    "replicas negative": (changed("replicas: 3", "replicas: -1"), 2, "whole number"),
    "replicas infinite": (changed("replicas: 3", "replicas: .inf"), 2, "whole number"),
    "replicas not a number": (changed("replicas: 3", "replicas: .nan"), 2, "whole number"),
    "replicas octal": (changed("replicas: 3", "replicas: 010"), 0, ""),
    "replicas hexadecimal": (changed("replicas: 3", "replicas: 0x3"), 0, ""),
    "replicas with underscores": (changed("replicas: 3", "replicas: 1_0"), 0, ""),
    "replicas of thirty digits": (changed("replicas: 3", "replicas: " + "9" * 30), 2, "whole number"),
    "replicas of 5,000 digits": (changed("replicas: 3", "replicas: " + "9" * 5000), 2, "whole number"),
    "replicas a list": (changed("replicas: 3", "replicas: [3]"), 2, "whole number"),
    "replicas 3e0": (changed("replicas: 3", "replicas: 3e0"), 0, ""),
    "name a number": (changed("  name: web", "  name: 123"), 2, "quotes"),
    "name a date": (changed("  name: web", "  name: 2024-01-01"), 0, ""),
    "label a number": (
        changed("        app: web\n    spec", "        app: web\n        v: 1.0\n    spec"),
        2,
        "quotes",
    ),
    "annotation a boolean": (
        changed("  name: web\n", "  name: web\n  annotations: {x: true}\n"),
        2,
        "quotes",
    ),
    "annotation a time": (changed("  name: web\n", "  name: web\n  annotations: {x: 12:30:45}\n"), 0, ""),
    "annotations a list": (changed("  name: web\n", "  name: web\n  annotations: [x]\n"), 2, "mapping"),
    "env value a number": (
        with_variable("8080"),
        2,
        "quotes",
    ),
    "env value a boolean": (
        with_variable("on"),
        2,
        "quotes",
    ),
    "env value yes": (
        with_variable("yes"),
        2,
        "env[0].value is true; allowed is text: put it in quotes (YAML reads yes so)",
    ),
    "env value n": (
        with_variable("n"),
        2,
        ":32: Deployment web cannot be checked: spec.template.spec.containers[0].env[0].value is false; "
        "allowed is text: put it in quotes (YAML reads n so)",
    ),
    "env value 08": (
        with_variable("08"),
        2,
        "is 8; allowed is text: put it in quotes (YAML reads 08 so)",
    ),
    "env value of letters in quotes": (
        with_variable("'n'"),
        0,
        "",
    ),
    "label y": (
        changed("        app: web\n    spec", "        app: web\n        v: y\n    spec"),
        2,
        "reads y so",
    ),
    "host network n": (changed("      containers:\n", "      hostNetwork: n\n      containers:\n"), 0, ""),
    "name of a neighbour y": (
        BASE + "---\napiVersion: v1\nkind: Service\nmetadata: {name: y}\nspec: {ports: [{port: 80}]}\n",
        0,
        "",
    ),
    "name of the workload n": (
        changed("  name: web", "  name: n"),
        1,
        "",
    ),
    "env a mapping": (changed(COMMAND, COMMAND + "        env: {PORT: '1'}\n"), 2, "a list"),
    "env without a name": (
        changed(COMMAND, COMMAND + "        env:\n        - value: '1'\n"),
        2,
        "name is missing",
    ),
    "command a text": (changed(COMMAND, "        command: gunicorn app:app\n"), 2, "a list"),
    "args a text": (changed(COMMAND, COMMAND + "        args: --port 80\n"), 2, "a list"),
    "args with a boolean": (changed(COMMAND, COMMAND + "        args: ['--debug', false]\n"), 2, "quotes"),
    "args with a nested list": (changed(COMMAND, COMMAND + "        args: [[a]]\n"), 2, "text"),
    "args with null": (changed(COMMAND, COMMAND + "        args: [~, a]\n"), 0, ""),
    "containers empty": (changed("      containers:\n", "      containers: []\n      x:\n"), 2, "is empty"),
    "containers misspelt": (
        changed("      containers:\n", "      container:\n"),
        2,
        "spec.template.spec.containers is missing",
    ),
    "cpu without a zero": (
        changed(COMMAND, COMMAND + "        resources: {limits: {cpu: '.5'}}\n"),
        0,
        "",
    ),
    "containers a mapping": (
        changed("      containers:\n      - name: web", "      containers:\n        name: web"),
        2,
        "",
    ),
    "container a text": (changed("      containers:\n", "      containers:\n      - web\n"), 2, "mapping"),
    "template spec a list": (DEPLOYMENT.split("    spec:\n")[0] + "    spec: []\n", 2, "mapping"),
    "spec a text": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: web\n",
        2,
        "mapping",
    ),
    "ports a mapping": (
        changed(PORTS, "        ports:\n          name: http\n          containerPort: 8000"),
        2,
        "a list",
    ),
    "ports numbers": (changed(PORTS, "        ports: [8000]"), 2, "mapping"),
    "containerPort in quotes": (changed("containerPort: 8000", "containerPort: '8000'"), 2, "whole number"),
    "containerPort 0": (changed("containerPort: 8000", "containerPort: 0"), 2, "1 to 65535"),
    "containerPort 70000": (changed("containerPort: 8000", "containerPort: 70000"), 2, "65535"),
    "port of a Service in quotes": (changed("  - port: 80", "  - port: '80'"), 2, "whole number"),
    "targetPort a list": (changed("targetPort: http", "targetPort: [http]"), 2, ""),
    "targetPort with an underscore": (
        changed("targetPort: http", "targetPort: my_port"),
        2,
        "port's number or name",
    ),
    "Service selector with matchLabels": (
        changed("  selector:\n    app: web\n  ports", "  selector:\n    matchLabels: {app: web}\n  ports"),
        2,
        "text",
    ),
    "grace in quotes": (
        changed("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: '60'"),
        2,
        "whole number",
    ),
    "grace with a unit": (
        changed("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 60s"),
        2,
        "whole number",
    ),
    "grace negative": (
        changed("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: -1"),
        2,
        "whole number",
    ),
    "grace enormous": (
        changed("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 9223372036854775807"),
        0,
        "",
    ),
    "grace beyond 64 bits": (
        changed("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 9223372036854775808"),
        2,
        "whole number",
    ),
    "sleep in quotes": (
        changed(HOOK, "          preStop:\n            sleep: {seconds: '15'}"),
        2,
        "whole number",
    ),
    "sleep a number": (changed(HOOK, "          preStop:\n            sleep: 15"), 2, "mapping"),
    "sleep negative": (
        changed(HOOK, "          preStop:\n            sleep: {seconds: -5}"),
        2,
        "whole number",
    ),
    "hook command a number": (changed("- '15'", "- 15"), 2, "quotes"),
    "hook a text": (changed(HOOK, "          preStop: sleep 15"), 2, "mapping"),
    "probe a text": (changed(READINESS, "        readinessProbe: /ready"), 2, "mapping"),
    "probe timeout in quotes": (changed("timeoutSeconds: 2", "timeoutSeconds: '2'"), 2, "whole number"),
    "probe timeout a float": (changed("timeoutSeconds: 2", "timeoutSeconds: 0.5"), 2, "whole number"),
    "probe port a float": (changed("            port: http", "            port: 80.5"), 2, ""),
    "grpc port a name": (changed(HANDLER, "          grpc: {port: http}"), 2, "whole number"),
    "httpGet a text": (changed(HANDLER, "          httpGet: /ready"), 2, "mapping"),
    "httpHeaders a mapping": (
        changed(
            "            path: /ready\n", "            path: /ready\n            httpHeaders: {Host: x}\n"
        ),
        2,
        "a list",
    ),
    "maxSurge with a space": (changed("maxSurge: 1", "maxSurge: 25 %"), 2, "percentage"),
    "maxSurge in quotes": (changed("maxSurge: 1", "maxSurge: '1'"), 2, "percentage"),
    "maxSurge negative": (changed("maxSurge: 1", "maxSurge: -1"), 2, "percentage"),
    "strategy a text": (
        changed(
            "  strategy:\n    rollingUpdate:\n      maxSurge: 1\n      maxUnavailable: 0\n",
            "  strategy: RollingUpdate\n",
        ),
        2,
        "mapping",
    ),
    "selector a text": (
        changed("  selector:\n    matchLabels:\n      app: web\n", "  selector: app=web\n"),
        2,
        "mapping",
    ),
    "matchLabels a list": (
        changed("    matchLabels:\n      app: web\n  template", "    matchLabels: [app]\n  template"),
        2,
        "mapping",
    ),
    **{
        f"quantity {name}": (changed(COMMAND, f"{COMMAND}        resources: {{{fields}}}\n"), 2, "quantity")
        for name, fields in {
            "with a word": "limits: {cpu: half}",
            "with a space": "limits: {cpu: 100 m}",
            "in capitals": "limits: {memory: 64MB}",
            "of requests": "requests: {cpu: 100mCPU}",
            "negative": "limits: {cpu: '-1'}",
        }.items()
    },
    "publishNotReadyAddresses in quotes": (
        changed(
            "  selector:\n    app: web\n  ports",
            "  publishNotReadyAddresses: 'true'\n  selector:\n    app: web\n  ports",
        ),
        2,
        "true or false",
    ),
    "enableServiceLinks no": (
        changed("      terminationGrace", "      enableServiceLinks: no\n      terminationGrace"),
        0,
        "",
    ),
    "kind a list": ("apiVersion: v1\nkind: [Deployment]\n", 2, ""),
    "kind null": ("apiVersion: v1\nkind:\nmetadata: {name: a}\n", 2, "no kind"),
    "kind alone": ("kind: Deployment\n", 2, "not whole"),
    "apiVersion a number": (changed("apiVersion: apps/v1", "apiVersion: 1"), 2, "quotes"),
    "apiVersion a mapping": (changed("apiVersion: apps/v1", "apiVersion: {a: b}"), 2, "text"),
    "metadata a list": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: [a]\n"
        "spec: {template: {spec: {containers: [{name: a, image: b}]}}}\n",
        2,
        "mapping",
    ),
    "namespace a number": (changed("  namespace: demo", "  namespace: 5"), 2, "quotes"),
    "items a text": ("apiVersion: v1\nkind: List\nitems: many\n", 2, ""),
    "items with a text": ("apiVersion: v1\nkind: List\nitems: [a]\n", 2, "items[0]"),
    "key a list": (BASE + "---\n? [a, b]\n: c\n", 2, "key"),
    "keys that are numbers": (
        changed("  name: web\n", "  name: web\n  annotations: {1: a, 2.5: b, true: c}\n"),
        0,
        "",
    ),
    "compose file": (
        "services:\n  web:\n    image: nginx\n    ports: ['80:80']\n",
        2,
        "no Kubernetes object",
    ),
    "values file": ("replicaCount: 3\nimage: {tag: '1'}\n", 2, "no Kubernetes object"),
    "Chart.yaml": ("apiVersion: v2\nname: shop\nversion: 1.0.0\n", 2, ""),
    "GitHub workflow": ("name: ci\non: push\njobs: {a: {runs-on: x}}\n", 2, "no Kubernetes object"),
    "CRD": (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.c}\n"
        "spec: {group: b.c}\n",
        2,
        "no workload",
    ),
    "nesting of 20,000 brackets": ("[" * 20000, 2, ""),
    "nesting of 3,000 mappings": ("".join(" " * n + "a:\n" for n in range(3000)), 2, ""),
    "quoted text of 3 MB": (changed("image: registry.test/web:1", "image: '" + "x" * 3_000_000 + "'"), 0, ""),
    "alias to itself": ("a: &a\n  b: *a\n", 2, "contains itself"),
    "emoji": (changed("  name: web\n", "  name: web\n  annotations: {note: '🚀 déjà vu'}\n"), 0, ""),
    "lone surrogate in JSON": (json.dumps(OBJECTS[0]).replace('"web"', '"\\ud800"', 1), 2, ""),
    "form feed and vertical tab": (changed("# A comment.", "# \x0b"), 2, "not YAML"),
    "no newline at the end": (BASE.rstrip("\n"), 0, ""),
    "old Mac line ends": (BASE.replace("\n", "\r"), 0, ""),
    "next-line characters": (BASE.replace("# A comment.", "# \u2028 A comment."), 2, "not YAML"),
    "non-breaking spaces": (changed("  replicas: 3", "\u00a0\u00a0replicas: 3"), 2, ""),
    "curly quotes": (changed("- '15'", "- \u201815\u2019"), 1, ""),
    "diff output": ("".join(f"+{line}\n" for line in BASE.splitlines()), 2, ""),
    "kubectl get as a table": ("NAME   READY   UP-TO-DATE\nweb    3/3     3\n", 2, ""),
    "error of kubectl": ('Error from server (NotFound): deployments.apps "web" not found\n', 2, ""),
    "HTML": ("<html><body>404</body></html>\n", 2, ""),
    "Markdown with a manifest": ("# Title\n```yaml\n" + BASE + "```\n", 2, ""),
    "Helm's NOTES behind": (BASE + "NOTES:\n1. Get the URL\n", 2, ""),
}


@pytest.mark.parametrize("name", INPUTS)
def test_input_has_its_exit_status_and_a_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, status, says = INPUTS[name]
    file = tmp_path / "input.yaml"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    assert main(["-f", str(file)]) == status
    said = capsys.readouterr().err
    assert says in said
    assert "error in the doctor" not in said
    assert said.startswith("cannot check: ") == (status == 2)
