"""Code versions that cannot be forgotten: the hash of the code that a phase runs.

A phase's version changes when, and only when, the syntax tree of its module or of a science or
solver module, document or report that it imports changes; comments, docstrings, layout, imports and
where a module lies do not count.
Templates that a report is written with enter with their bytes, third-party libraries that decide
numbers with their installed version.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = "fly64_assets"
COUNTED = tuple(
    f"{PACKAGE}.{room}"
    for room in ("ptychography", "solvers", "documents", "reports", "study.hub_layout")
)
"""What is followed from a phase's own module. The rest is plumbing and changes no number."""
NOT_COUNTED = tuple(f"{PACKAGE}.{room}" for room in ("documents.schemas", "reports.previews"))
"""What is shown beside results, and what is only said about them."""
ROOT = Path(__file__).parents[1]
TEMPLATES = tuple(ROOT / "reports" / room / "templates" for room in ("condition", "study"))
MEMORY = Path(__file__).parent / "__pycache__" / "code_versions.json"


def _file(module: str) -> Path | None:
    relative = Path(*module.split(".")[1:])
    for candidate in (ROOT / relative.with_suffix(".py"), ROOT / relative / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


class _WhatRuns(ast.NodeTransformer):
    """Leaves out docstrings and, so that moving a module makes nothing stale, imports."""

    def visit_Import(self, node: ast.Import) -> None:
        """Leave it out."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Leave it out."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:] or [ast.Pass()]
        return node


@dataclass(frozen=True)
class _Module:
    """Digest of a module's syntax tree, and the counted modules that it imports."""

    digest: str
    imports: tuple[str, ...]


def _analyse(module: str, source: str) -> _Module:
    tree = ast.parse(source)
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    counted = {
        name
        for name in imported
        if name.startswith(COUNTED) and not name.startswith(NOT_COUNTED) and _file(name)
    }
    digest = hashlib.sha256(ast.dump(_WhatRuns().visit(tree)).encode()).hexdigest()
    return _Module(digest, tuple(sorted(counted - {*COUNTED, module})))


@cache
def _remembered() -> dict[str, dict[str, object]]:
    """Return what earlier processes found, by module and sha256 of its source."""
    try:
        found: dict[str, dict[str, object]] = json.loads(MEMORY.read_text("utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _remember() -> None:
    try:
        MEMORY.parent.mkdir(exist_ok=True)
        unfinished = MEMORY.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(_remembered()), "utf-8")
        unfinished.replace(MEMORY)
    except OSError:  # a read-only installation is only slower
        pass


@cache
def _module(name: str) -> _Module:
    path = _file(name)
    if path is None:
        raise ModuleNotFoundError(f"{name} has no source to take a code version from")
    source = path.read_bytes()
    key = f"{name} {hashlib.sha256(source).hexdigest()}"
    found = _remembered().get(key)
    if found is None:
        module = _analyse(name, source.decode())
        _remembered()[key] = asdict(module)
        _remember()
        return module
    return _Module(str(found["digest"]), tuple(found["imports"]))  # type: ignore[arg-type]


@cache
def _template_digests(file: str) -> tuple[str, ...]:
    """Digests of the template of a report and of what the templates of its folder share."""
    for folder in TEMPLATES:
        own = folder / f"{file}.j2"
        if own.is_file():
            found = (own, *sorted(folder.glob("_*")))
            return tuple(f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in found)
    return ()


def code_version(
    modules: Iterable[str], libraries: Iterable[str] = (), files: Iterable[str] = ()
) -> str:
    """Version of the code behind a phase.

    Args:
        modules: dotted names inside the package to start from.
        libraries: distributions whose installed version decides numbers, e.g. ``"ptychi"``.
        files: names of the files that it writes; one that has a template counts with it.

    Returns:
        Twelve hexadecimal digits, then each library with its version.
    """
    pending, digests = list(modules), {}
    while pending:
        module = pending.pop()
        if module not in digests:
            found = _module(module)
            digests[module] = found.digest
            pending += found.imports
    parts = set(digests.values())
    parts.update(digest for file in files for digest in _template_digests(file))
    joined = "\n".join(sorted(parts))
    pinned = [f"{name}={version(name)}" for name in sorted(libraries)]
    return " ".join([hashlib.sha256(joined.encode()).hexdigest()[:12], *pinned])
