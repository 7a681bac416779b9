"""Objects from files, standard input and kustomize."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from kubectl_lossless.doctor.documents import Document, Problem, read
from kubectl_lossless.doctor.server.model import Overrides
from kubectl_lossless.doctor.source.loaded import Loaded, Refused, SourceError
from kubectl_lossless.doctor.source.selection import Selection, Wanted, wanted
from kubectl_lossless.doctor.source.workloads import checked, choose

SUFFIXES = (".yaml", ".yml", ".json")

MAX_BYTES = 100_000_000
"""Largest file that is read."""


def from_files(selection: Selection, stdin: BinaryIO, overrides: Overrides = Overrides()) -> Loaded:  # noqa: B008
    """Return the workloads in files. Raises SourceError."""
    paths, kustomize, namespace = selection.files, selection.kustomize, selection.namespace
    chosen = wanted(selection.words)
    loaded = Loaded()
    documents: list[Document] = []
    for label, data in _contents(paths, stdin, kustomize, loaded):
        for each in read(data, label):
            if isinstance(each, Problem):
                loaded.refused.append(Refused(str(each), file=label))
            else:
                documents.append(each)
    known = checked(documents, loaded)
    if namespace:
        for each in known:
            if "namespace" not in each.metadata:
                each.data.setdefault("metadata", {})["namespace"] = namespace
        chosen = chosen or [Wanted()]
    where = ", ".join(["stdin" if each == "-" else each for each in [*paths, kustomize] if each])
    choose(known, loaded, overrides)
    if chosen:
        there = _listed(loaded)
        loaded.workloads = [
            each
            for each in loaded.workloads
            if any(one.takes(each.document) for one in chosen) and namespace in ("", each.namespace)
        ]
        for one in chosen:
            if not any(one.takes(each.document) for each in loaded.workloads) and not loaded.refused:
                inside = f" in the namespace {namespace}" if namespace else ""
                raise SourceError(f"There is no {one}{inside} in {where}.{there}")
    if not loaded.workloads and not loaded.refused:
        raise SourceError(f"There is no workload to check in {where}.{_listed(loaded, known)}")
    return loaded


def _listed(loaded: Loaded, others: Sequence[Document] = ()) -> str:
    """Return what there is instead, in a sentence with a space before it."""
    found = (
        [each.name for each in loaded.workloads]
        or [f"{each.name} {each.reason}" for each in loaded.skipped]
        or [each.name for each in others]
    )
    listed = "; ".join(found[:10])
    return f" There is: {listed}{'' if listed.endswith('?') else '.'}" if listed else ""


def _contents(
    paths: Sequence[str], stdin: BinaryIO, kustomize: str, loaded: Loaded
) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path == "-":
            yield "stdin", stdin.read()
            continue
        if path.startswith(("http://", "https://")):
            reason = "is an address, no file: `curl -sL ADDRESS | kubectl lossless doctor -f -` checks it"
            loaded.refused.append(Refused(reason, file=path))
            continue
        for file in _files(Path(path)):
            try:
                if file.stat().st_size > MAX_BYTES:
                    loaded.refused.append(Refused(f"is larger than {MAX_BYTES:,} bytes", file=str(file)))
                    continue
                yield str(file), file.read_bytes()
            except OSError as error:
                loaded.refused.append(Refused(f"cannot be read: {error.strerror}", file=str(file)))
    if kustomize:
        yield f"kustomize {kustomize}", _built(kustomize)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        each
        for each in path.rglob("*")
        if each.suffix.lower() in SUFFIXES
        and each.is_file()
        and not any(part.startswith(".") for part in each.relative_to(path).parts)
    )
    if not found:
        raise SourceError(f"{path} holds no {' or '.join(SUFFIXES)} file.")
    return found


def _built(folder: str) -> bytes:
    """Return the output of kustomize; `kubectl kustomize` where the program itself is not installed."""
    said = "neither kubectl nor kustomize is installed"
    for command in (["kubectl", "kustomize", folder], ["kustomize", "build", folder]):
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)  # noqa: S603 - no shell
        except FileNotFoundError:
            continue
        except subprocess.TimeoutExpired:
            raise SourceError(f"`{' '.join(command)}` did not end within 120 s.") from None
        if done.returncode == 0:
            return done.stdout
        said = f"`{' '.join(command)}` said: {done.stderr.decode(errors='replace').strip()}"
        break
    raise SourceError(f"{folder} cannot be built with kustomize: {said}")
