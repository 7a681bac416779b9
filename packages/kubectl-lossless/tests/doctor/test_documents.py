"""Bytes in, Kubernetes objects out."""

from __future__ import annotations

import codecs
import json
import time

import pytest

from kubectl_lossless.doctor.documents import Document, Problem, read

MANIFEST = "kind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 3\n"


def one(data: str | bytes) -> Document:
    (found,) = read(data.encode() if isinstance(data, str) else data, "f.yaml")
    assert isinstance(found, Document), found
    return found


def problem(data: str | bytes) -> str:
    found = list(read(data.encode() if isinstance(data, str) else data, "f.yaml"))
    return next(str(each) for each in found if isinstance(each, Problem))


@pytest.mark.parametrize(
    "data",
    [
        MANIFEST.encode(),
        codecs.BOM_UTF8 + MANIFEST.encode(),
        MANIFEST.encode("utf-16"),
        MANIFEST.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + MANIFEST.encode("utf-16-be"),
        MANIFEST.replace("\n", "\r\n").encode(),
        json.dumps(
            {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}, indent="\t"
        ).encode(),
    ],
    ids=["UTF-8", "BOM", "UTF-16", "UTF-16 without a mark", "big-endian", "Windows", "JSON with tabs"],
)
def test_encodings_of_a_manifest_are_read(data: bytes) -> None:
    found = one(data)
    assert (found.name, found.spec) == ("Deployment web", {"replicas": 3})


def test_nulls_are_not_set() -> None:
    assert one("kind: X\na: null\nb: ~\nc:\nd: [1, null]\n").data == {"kind": "X", "d": [1]}


def test_scalars_are_those_of_kubernetes() -> None:
    text = (
        "a: =\nb: 2024-01-02\nc: 017\nd: yes\ne: 1_000\nf: 1.5\ng: '8'\nh: 0x1F\ni: 1e3\nj: '1e3'\nk: 0b11\n"
    )
    expected = {"a": "=", "b": "2024-01-02", "c": 15, "d": True, "e": 1000, "f": 1.5, "g": "8", "h": 31}
    expected |= {"i": 1000.0, "j": "1e3", "k": 3}
    assert one(text).data == expected


# As `kubectl annotate --local -o json` reads them.
@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("y", True), ("Y", True), ("n", False), ("N", False), ("'n'", "n"), ("!!str n", "n")),
        *(("yes", True), ("Off", False), ("yEs", "yEs"), ("no-one", "no-one")),
        *(("08", 8), ("09.5", 9.5), ("1.5e3", 1500), ("1.", 1), ("+1", 1), (".5", 0.5), ("1e", "1e")),
        *(
            ("0o", "0o"),
            ("0o755", 493),
            ("-0O17", -15),
            ("0o_17", 15),
            ("0o8", "0o8"),
            ("0B11", 3),
            ("0b2", "0b2"),
            ("+0X1f", 31),
            ("-0x1f", -31),
            ("-0b11", -3),
            ("0x_1", 1),
            ("1:30", "1:30"),
            ("190_000.5", 190000.5),
        ),
        *(("9" * 30, int(1e30)), ("9" * 400, "9" * 400), ("1.2.3", "1.2.3"), ("0x", "0x")),
    ],
)
def test_plain_values_equal_those_of_kubectl(written: str, value: object) -> None:
    found = one(f"kind: X\na: {written}\n").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_anchor_may_be_defined_again() -> None:
    text = f"{MANIFEST}---\nkind: X\na: &x one\nb: *x\nc: &x {{d: two}}\ne: *x\n---\n{MANIFEST}"
    found = [each.data for each in read(text.encode(), "f.yaml") if isinstance(each, Document)]
    assert found[1] == {"kind": "X", "a": "one", "b": "one", "c": {"d": "two"}, "e": {"d": "two"}}
    assert found[0] == found[2] == one(MANIFEST).data
    assert "undefined alias" in problem("kind: X\na: &x one\nb: &x two\nc: *y\n")


def test_name_of_one_letter_remains_a_name() -> None:
    assert one("kind: X\nmetadata: {name: y}\nspec: {name: y}\n").data == {
        "kind": "X",
        "metadata": {"name": "y"},
        "spec": {"name": True},
    }


def test_line_of_a_field_is_that_of_its_nearest_written_parent() -> None:
    found = one(MANIFEST)
    assert [
        found.line(path) for path in ((), ("spec", "replicas"), ("spec", "strategy", "type"), ("x",))
    ] == [1, 5, 4, 1]


def test_line_counts_from_the_start_of_the_file() -> None:
    first, second = read(f"# a comment\n{MANIFEST}---\n{MANIFEST}".encode(), "f")
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert (first.line(), second.line(("spec", "replicas"))) == (2, 12)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("spec:\n  replicas: 3\n  replicas: 1\n", "spec.replicas is written twice, again in line 3"),
        ("a: [b", "is not YAML in line 2"),
        ("a: {{ .Values.x }}\n", "is a Helm template that has not been rendered"),
        ("- a\n- b\n", "holds a list where a Kubernetes object is expected"),
        ("text", "holds the text 'text'"),
        (b"\xff\xfa\x80", "is not text in UTF-8 or UTF-16"),
        ("a: &x\n  b: *x\n", "a.b contains itself through an alias"),
        ("[" * 5000, "exceeded maximum nesting depth"),
        ('{"a":\t}', "is not JSON"),
    ],
)
def test_document_that_is_no_manifest_is_named(data: str | bytes, says: str) -> None:
    assert says in problem(data)


def test_problem_of_one_document_leaves_the_others() -> None:
    found = list(read(f"{MANIFEST}---\na: 1\na: 2\n---\n{MANIFEST}".encode(), "f"))
    assert [type(each) for each in found] == [Document, Problem, Document]


@pytest.mark.parametrize("merge", [False, True])
def test_aliases_cannot_expand_without_a_bound(merge: bool) -> None:
    lines = ["a0: &a0 {k: v}" if merge else "a0: &a0 [x, x]"]
    for number in range(1, 40):
        aliases = ", ".join([f"*a{number - 1}"] * 9)
        lines.append(
            f"a{number}: &a{number}\n  <<: [{aliases}]" if merge else f"a{number}: &a{number} [{aliases}]"
        )
    began = time.process_time()
    assert "expands to more than 1,000,000 values" in problem("\n".join(lines))
    assert time.process_time() - began < 5


def test_merge_keys_are_merged() -> None:
    assert one("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  y: 2\n").data["b"] == {"x": 1, "y": 2}


def test_json_documents_may_stand_one_after_the_other() -> None:
    text = '{"kind": "A", "spec": {"x": null}}\n{"kind": "B"} \n'
    found = [each for each in read(text.encode(), "file") if isinstance(each, Document)]
    assert [each.data for each in found] == [{"kind": "A", "spec": {}}, {"kind": "B"}]


def test_item_of_a_list_that_is_no_object_is_a_problem() -> None:
    assert problem('{"kind": "List", "items": [{"kind": "Pod"}, "x"]}') == (
        "items[1] holds the text 'x' where a Kubernetes object is expected"
    )


def test_items_of_a_deployment_list_have_its_api_version() -> None:
    found = one(
        '{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"metadata": {"name": "web"}}]}'
    )
    assert (found.name, found.group) == ("Deployment web", "apps")
