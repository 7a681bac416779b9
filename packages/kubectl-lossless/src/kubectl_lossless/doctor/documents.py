"""Manifests as objects: bytes in, Kubernetes objects with their file and lines out.

PyYAML alone is not Kubernetes' YAML: it refuses a plain `=` and JSON indented with tabs, reads dates as dates
and `y` and `1.5e3` as text, and keeps the last of two equal keys. Objects are built from its nodes here, so
that lines and duplicates are known, nulls are dropped (null means "not set") and aliases cannot expand
without a bound.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import yaml

from kubectl_lossless.doctor.finding import Path, shown

Object = dict[str, Any]

MAX_VALUES = 1_000_000
"""Largest number of values in one document, its aliases expanded. Argo CD's install.yaml has 60,000."""

INTEGERS = (
    (re.compile(r"[-+]?(0|[1-9][0-9]*)"), 10),
    (re.compile(r"[-+]?0[oO]?[0-7]+"), 8),
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
)
"""Forms of a whole number, with their bases."""

FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
"""A number to Kubernetes; to PyYAML, some of these are text."""

WITH_BASE = re.compile(r"[-+]?0([oO][0-7_]*[0-7]|[xX][0-9a-fA-F_]*[0-9a-fA-F]|[bB][01_]*[01])_*\Z")
"""A number with a letter for its base to Kubernetes; to PyYAML, some of these are text."""

MIN_INT64, MAX_UINT64 = -(2**63), 2**64 - 1
"""Whole numbers below and above are read as fractions, which lose digits."""

LETTER = re.compile(r"[yYnN]\Z")
"""A boolean to Kubernetes, and text to PyYAML."""

NAME: Path = ("metadata", "name")
TRUE = {"y", "yes", "true", "on"}
LONGEST_INTEGER = 67
"""Characters of a whole number of 64 bits in its longest form, the binary one."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's loader with the plain values that kubectl does not take for text."""


def resolve_as_kubectl(kind: Any) -> None:
    """Let a loader or dumper of PyYAML know the plain values that kubectl does not take for text."""
    kind.add_implicit_resolver("tag:yaml.org,2002:bool", LETTER, list("yYnN"))
    kind.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
    kind.add_implicit_resolver("tag:yaml.org,2002:int", WITH_BASE, list("-+0"))


resolve_as_kubectl(Loader)


class _Redefining(yaml.composer.Composer, Loader):
    """The loader for documents that define an anchor again, as YAML allows; it composes them in Python."""

    def __init__(self, stream: str) -> None:
        Loader.__init__(self, stream)  # type: ignore[call-arg]
        self.anchors: dict[str, yaml.Node] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if not self.check_event(yaml.events.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)
        return super().compose_node(parent, index)


def _composed(text: str) -> Iterator[yaml.Node]:
    """Yield the nodes of a text's documents. Raises yaml.YAMLError."""
    done = 0
    try:
        for node in yaml.compose_all(text, Loader):
            yield node
            done += 1
    except yaml.composer.ComposerError as error:
        if error.problem != "second occurrence":
            raise
        yield from islice(yaml.compose_all(text, _Redefining), done, None)


HELM = (
    "is a Helm template that has not been rendered: `helm template CHART | kubectl lossless doctor -f -` "
    "renders and checks it"
)


class Problem(Exception):  # noqa: N818 - read() yields it, and goes on
    """A document that cannot be checked. The message is a sentence without its subject's file."""


@dataclass(frozen=True)
class Document:
    """One Kubernetes object and where it is written."""

    data: Object
    file: str = ""
    node: yaml.Node | None = None

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.data.get("kind", ""))

    @property
    def group(self) -> str:
        """Its API group; "" for the core group."""
        version = str(self.data.get("apiVersion", ""))
        return version.rpartition("/")[0]

    @property
    def metadata(self) -> Object:
        """Its metadata, empty where there is none."""
        return _or_empty(self.data.get("metadata"))

    @property
    def spec(self) -> Object:
        """Its spec, empty where there is none."""
        return _or_empty(self.data.get("spec"))

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.metadata.get("namespace", "default"))

    @property
    def metadata_name(self) -> str:
        """Its name alone, "" where it has none."""
        return str(self.metadata.get("name", ""))

    @property
    def name(self) -> str:
        """Kind and name, as people refer to it."""
        name = self.metadata_name
        return f"{self.kind} {name}" if name else f"{self.kind} without a name"

    @property
    def annotations(self) -> Object:
        """Its annotations, empty where there are none."""
        return _or_empty(self.metadata.get("annotations"))

    def line(self, path: Path = ()) -> int | None:
        """Return the line of a field, or of its nearest parent that is written; None outside of a file."""
        node, line = self.node, None
        if node is None:
            return None
        line = node.start_mark.line + 1
        for key in path:
            found: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                for name, value in node.value:
                    if name.value == key:
                        line, found = name.start_mark.line + 1, value
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                found = node.value[key]
                line = found.start_mark.line + 1
            if found is None:
                break
            node = found
        return line

    def unquoted(self, path: Path) -> str:
        """Return how a value is written that YAML does not read as text, such as yes; "" for all others."""
        node = self.node
        for key in path:
            node = _child(node, key)
        if not isinstance(node, yaml.ScalarNode) or isinstance(_scalar(node), str):
            return ""
        return str(node.value)


def _or_empty(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def decoded(data: bytes) -> str:
    """Return the text of a manifest in UTF-8 or, as PowerShell writes it, UTF-16. Raises Problem."""
    encoding = "utf-8"
    if data.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif len(data) > 1 and 0 in data[:2]:
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Problem(f"is not text in UTF-8 or UTF-16: byte {error.start} cannot be decoded") from None


def read(data: bytes, file: str) -> Iterator[Document | Problem]:
    """Yield the objects of a file, lists unfolded, and a Problem for what cannot be read."""
    try:
        text = decoded(data)
        yield from _from_text(text, file)
    except Problem as problem:
        yield problem
    except RecursionError:
        yield Problem("nests too deeply to be a manifest")


def _from_text(text: str, file: str) -> Iterator[Document | Problem]:
    # Kubernetes reads JSON as JSON, tabs included; YAML forbids tabs in indentation.
    # It also reads JSON documents one after the other, which are no YAML.
    if text.lstrip()[:1] == "{":
        try:
            values = list(_json_documents(text))
        except ValueError as error:
            if "\t" in text:
                raise Problem(f"is not JSON: {error}") from None
            values = []
        if len(values) > 1 or (values and "\t" in text):
            for value in values:
                yield from unfolded(Document(without_nulls(_mapping(value)), file))
            return
    try:
        for node in _composed(text):
            try:
                value = _Builder().build(node, ())
                if value is not None:
                    yield from unfolded(Document(_mapping(value), file, node))
            except Problem as problem:
                yield Problem(HELM) if "{{" in text else problem
    except yaml.reader.ReaderError as error:
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
        raise Problem(f"is not YAML: it has the character {character}, which no YAML may have") from None
    except yaml.YAMLError as error:
        if "{{" in text:
            raise Problem(HELM) from None
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise Problem(f"is not YAML{where}: {getattr(error, 'problem', None) or error}") from None
    except ValueError as error:
        raise Problem(f"is not YAML: {error}") from None


def _json_documents(text: str) -> Iterator[Any]:
    """Yield JSON values that stand one after the other. Raises ValueError."""
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        yield value
        at = len(text) - len(text[end:].lstrip())


PATCH = "JSON patch"
"""Kind that a document with a JSON patch gets: a list of operations, of which kustomize makes no object."""


def _mapping(value: Any) -> Object:
    if (
        isinstance(value, list)
        and value
        and all(isinstance(each, dict) and {"op", "path"} <= each.keys() for each in value)
    ):
        return {"kind": PATCH}
    if not isinstance(value, dict):
        raise Problem(f"holds {_kind_of(value)} where a Kubernetes object is expected")
    return value


def _kind_of(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return f"the text {str(value)[:40]!r}" if isinstance(value, str) else f"the value {value!r}"


def unfolded(document: Document) -> Iterator[Document]:
    """Yield a document, or the items of a List or DeploymentList."""
    items = document.data.get("items")
    if not document.kind.endswith("List") or ("metadata" in document.data and "spec" in document.data):
        yield document
        return
    for number, item in enumerate(items if isinstance(items, list) else ()):
        node = _child(_child(document.node, "items"), number)
        if not isinstance(item, dict):
            raise Problem(f"items[{number}] holds {_kind_of(item)} where a Kubernetes object is expected")
        if kind := document.kind.removesuffix("List"):  # of the API server itself: not in each item
            item.setdefault("kind", kind)
            item.setdefault("apiVersion", document.data.get("apiVersion"))
        yield from unfolded(Document(item, document.file, node))


def _child(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        child: yaml.Node = node.value[key]
        return child
    return None


def without_nulls(value: Any) -> Any:
    """Return a value without nulls, which mean "not set"."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value if each is not None]
    return value


class _Builder:
    """Builds the value of one document's nodes."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[Any, int]] = {}  # of aliased nodes: value, number of values in it
        self._open: set[int] = set()

    def build(self, node: yaml.Node | None, path: Path) -> Any:
        """Return a node's value, nulls dropped. Raises Problem."""
        return None if node is None else self._value(node, path)[0]

    def _value(self, node: yaml.Node, path: Path) -> tuple[Any, int]:
        if isinstance(node, yaml.ScalarNode):
            if path[-2:] == NAME and "spec" not in path and LETTER.match(node.value):
                return node.value, 1  # `refused` reports it, and the object keeps its name
            return _scalar(node), 1
        key = id(node)
        if key in self._built:
            return self._built[key]
        if key in self._open:
            raise Problem(f"{shown(path)} contains itself through an alias")
        self._open.add(key)
        built = self._sequence(node, path) if isinstance(node, yaml.SequenceNode) else self._map(node, path)
        self._open.discard(key)
        if built[1] > MAX_VALUES:
            raise Problem(f"expands to more than {MAX_VALUES:,} values through its aliases")
        self._built[key] = built
        return built

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> tuple[Any, int]:
        found, size = [], 1
        for number, each in enumerate(node.value):
            value, count = self._value(each, (*path, number))
            size += count
            if value is not None:
                found.append(value)
        return found, size

    def _map(self, node: Any, path: Path) -> tuple[Any, int]:
        own: Object = {}
        merged: Object = {}
        size = 1
        for name, each in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise Problem(f"{shown(path) or 'the document'} has a key that is no text")
            value, count = self._value(each, (*path, name.value))
            size += count
            if name.tag == "tag:yaml.org,2002:merge":
                for other in value if isinstance(value, list) else [value]:
                    if not isinstance(other, dict):
                        raise Problem(
                            f"merges {_kind_of(other)} into {shown(path) or 'the document'}, no mapping"
                        )
                    merged = {**other, **merged}
            elif name.value in own:
                line = name.start_mark.line + 1
                raise Problem(f"{shown((*path, name.value))} is written twice, again in line {line}")
            else:
                own[name.value] = value
        return {key: value for key, value in {**merged, **own}.items() if value is not None}, size


def _scalar(node: yaml.ScalarNode) -> Any:
    """Return a scalar as Kubernetes reads it: dates, `=` and tags of others are text."""
    text: str = node.value
    tag = node.tag.rpartition(":")[2]
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() in TRUE
    if tag in ("int", "float"):
        return _number(text)
    return text


def _number(text: str) -> Any:
    """Return the number that a plain value is; the text where it is none, as 12:30 is not."""
    plain = text.replace("_", "")
    for pattern, base in INTEGERS:
        if len(plain) <= LONGEST_INTEGER and pattern.fullmatch(plain):
            whole = int(plain.lower().replace("0o", "0"), base)
            if MIN_INT64 <= whole <= MAX_UINT64:
                return whole
    if FLOAT.match(plain) and math.isfinite(number := float(plain)):
        return int(number) if number.is_integer() else number
    return {"inf": math.inf, "nan": math.nan}.get(plain.lower().lstrip("+-."), text)
