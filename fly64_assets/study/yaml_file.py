"""A study file's YAML, read as people read it: YAML 1.2 and nothing that a study has no use for.

PyYAML reads YAML 1.1, in which ``0100`` is 64, ``1:30`` is 90, ``on`` is true and ``1e3`` is text.
Here its parser is used and every value is made by the core schema of YAML 1.2 (section 10.3 of its
specification). What that schema and a person read differently is refused by name, and so are tags
and values without bound. What the keys mean does not belong here.
"""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from yaml import MappingNode, MarkedYAMLError, ScalarNode, SequenceNode, YAMLError
from yaml.composer import Composer
from yaml.nodes import Node
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from fly64_assets.errors import InputError, UnreadableStudy
from fly64_assets.study.json_depth import DEEPEST

LARGEST_BYTES = 1 << 18
"""Of a study file; the full study has 7,000."""
MOST_VALUES = 10_000
"""In a study file, what aliases repeat counted each time."""
LONGEST_NUMBER = 40
_TOO_DEEP = f"values are nested more than {DEEPEST} levels deep"
_PLAIN, _QUOTED = "plain", "quoted"
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {
    text: text.lower() == "true" for text in ["true", "True", "TRUE", "false", "False", "FALSE"]
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Nodes(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's parser, with ways of writing in the place of types, and a depth that ends."""

    def __init__(self, content: bytes) -> None:
        self._depth = 0
        Reader.__init__(self, content)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """How a node without a tag is written. One that has a tag never comes here."""
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return kind.__name__

    def descend_resolver(self, current_node: Node | None, current_index: Any) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise YAMLError(_TOO_DEEP)

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _Values:
    """Python values of a file's nodes, as many as `MOST_VALUES`; what is refused is named."""

    def __init__(self, path: Path) -> None:
        self._path, self._made = path, 0

    def of(self, node: Node, keys: tuple[str, ...] = ()) -> Any:
        self._made += 1
        if self._made > MOST_VALUES:
            raise self._refused(node, keys, f"more than {MOST_VALUES:,} values, aliases repeated")
        if len(keys) > DEEPEST:  # an alias within what it stands for
            raise self._refused(node, keys[:1], _TOO_DEEP)
        if isinstance(node, ScalarNode) and node.tag in (_PLAIN, _QUOTED):
            try:
                return _scalar(node.value) if node.tag == _PLAIN else node.value
            except ValueError as error:
                raise self._refused(node, keys, str(error)) from None
        if node.tag not in (MappingNode.__name__, SequenceNode.__name__):
            raise self._refused(node, keys, f"has the tag {node.tag}; a study file has no tags")
        if isinstance(node, SequenceNode):
            return [self.of(item, (*keys, str(at))) for at, item in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.of(key_node, keys)
            if not isinstance(key, str):
                raise self._refused(key_node, keys, f"key {key!r} is no text; put it into quotes")
            if key in found:
                raise self._refused(key_node, keys, f"key {key!r} appears twice")
            found[key] = self.of(value_node, (*keys, key))
        return found

    def _refused(self, node: Node, keys: tuple[str, ...], problem: str) -> InputError:
        return InputError(
            self._path, ".".join(keys), f"{problem} (line {node.start_mark.line + 1})"
        )


def _scalar(text: str) -> Any:
    """Return what a plain scalar means; an integer too where it is written ``1e3``.

    Raises:
        ValueError: a number that is not read as it stands there.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if special := _NOT_FINITE.fullmatch(text):
        return float(f"{special[1] or ''}inf") if special[2] else math.nan
    if not (_FLOAT.fullmatch(text) or _OTHER_BASE.fullmatch(text)):
        return text
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text):,} characters")
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _LEADING_ZERO.match(text):
        raise ValueError(f"{text} begins with 0, is it octal? write it without, or in quotes")
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text)
    if math.isinf(number) or (number == 0 and re.match("[^eE]*[1-9]", text)):
        raise ValueError(f"{text} is beyond the numbers of double precision")
    whole = "." not in text and number.is_integer() and abs(number) < 2**53
    return int(number) if whole else number


def read_study_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a study file holds, of YAML 1.2's plain values.

    Raises:
        UnreadableStudy: there is no regular file of at most `LARGEST_BYTES` that can be read.
        InputError: it is not YAML, has a tag, a number that reads in two ways, a key twice, more
            depth or more values than a study has, or it is no mapping.
    """
    try:
        node = _Nodes(_bytes(path)).get_single_node()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise InputError(path, "", f"is not valid YAML: {problem}{where}") from None
    except YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(path, "", f"is not valid YAML: {problem}") from None
    content = None if node is None else _Values(path).of(node)
    if not isinstance(content, dict):
        raise InputError(path, "", "holds no mapping; a study file is a YAML mapping")
    return content


def _bytes(path: Path) -> bytes:
    try:
        # Without waiting: the other end of a pipe may never be opened.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableStudy(path, "", "is no regular file")
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableStudy(path, "", "does not exist") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableStudy(path, "", f"cannot be read as a study file: {reason}") from None
    if len(content) > LARGEST_BYTES:
        raise UnreadableStudy(path, "", f"is larger than a study file: {LARGEST_BYTES:,} bytes")
    return content
