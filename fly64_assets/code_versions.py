"""Code versions that cannot be forgotten: the hash of the code that a phase runs.

A phase's version changes when, and only when, the syntax tree of its module or of a science or
solver module that it imports changes; comments, docstrings and layout do not count. Third-party
libraries that decide numbers enter with their installed version.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = "fly64_assets"
COUNTED = (f"{PACKAGE}.ptychography", f"{PACKAGE}.solvers")
"""What is followed from a phase's own module. The rest is plumbing and changes no number."""


def _file(module: str) -> Path | None:
    relative = Path(*module.split(".")[1:])
    root = Path(__file__).parent
    for candidate in (root / relative.with_suffix(".py"), root / relative / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


class _WithoutDocstrings(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:] or [ast.Pass()]
        return node


@cache
def _tree(module: str) -> tuple[str, frozenset[str]]:
    """Digest of one module's syntax tree, and the counted modules that it imports."""
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} has no source to take a code version from")
    tree = ast.parse(path.read_text("utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    counted = {name for name in imported if name.startswith(COUNTED) and _file(name)}
    digest = hashlib.sha256(ast.dump(_WithoutDocstrings().visit(tree)).encode()).hexdigest()
    return digest, frozenset(counted - {*COUNTED, module})


def code_version(modules: Iterable[str], libraries: Iterable[str] = ()) -> str:
    """Version of the code behind a phase.

    Args:
        modules: dotted names inside the package to start from.
        libraries: distributions whose installed version decides numbers, e.g. ``"ptychi"``.

    Returns:
        Twelve hexadecimal digits, then each library with its version.
    """
    pending, digests = list(modules), {}
    while pending:
        module = pending.pop()
        if module not in digests:
            digests[module], imports = _tree(module)
            pending += imports
    joined = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    pinned = [f"{name}={version(name)}" for name in sorted(libraries)]
    return " ".join([hashlib.sha256(joined.encode()).hexdigest()[:12], *pinned])
