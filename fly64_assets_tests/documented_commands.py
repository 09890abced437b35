"""The commands that README, docs and help texts tell people to type, collected and judged.

A fenced block without a language, or one of a shell, is commands, a line each; an inline code span
that begins with ``fly64`` or ``make`` is one too. What is done about each is in `kind_of`; one of
no kind is a mistake of the documentation or of this table.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import click

from fly64_assets.cli import main
from fly64_assets.study.model import PROJECT_ROOT

Kind = Literal["run", "parse", "name", "make", "module", "system"]
PAGES = (
    PROJECT_ROOT / "README.md",
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
    PROJECT_ROOT / "fly64_assets/study/specimens/README.md",
    PROJECT_ROOT / "fly64_assets_tests/data/README.md",
)
SHELLS = {"", "console", "bash", "sh"}
FENCE = re.compile(r"^```(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`((?:\.venv/bin/)?(?:fly64|make|dagster-daemon|python)\s[^`]+)`(?!`)")
SYSTEM = {"sudo", "export", "dagster-daemon"}
"""First words of what belongs to the system, a shell or Dagster and is looked at, not run."""
LONG = {"--force", "--rerun", "--open"}
"""Options that make a fresh study compute, or open a browser; tests of their own run them."""
EXPORTED = re.compile(r"(FLY64_[A-Z]+|PG[A-Z]+|PATH)=\S+")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        words: as a shell splits them, without ``.venv/bin/``.
        page: where it stands, relative to the project.
        inline: whether it stands in a sentence.
    """

    words: tuple[str, ...]
    page: str
    inline: bool = False

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands() -> Iterator[Command]:
    """Of all pages, then the examples in help texts."""
    for path in PAGES:
        yield from commands_in(path.read_text("utf-8"), path.relative_to(PROJECT_ROOT).as_posix())
    for name, command in main.commands.items():
        for line in (command.help or "").splitlines():
            line = line.strip().removeprefix("Example: ")
            if line.startswith(("fly64 ", "eval ")):
                yield Command(_words(line), f"fly64 {name} --help")


def commands_in(text: str, page: str) -> Iterator[Command]:
    """Of one Markdown text."""
    for language, block in FENCE.findall(text):
        if language in SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                words = _words(line)
                if words:
                    yield Command(words, page)
    for span in SPAN.findall(FENCE.sub("", text)):
        yield Command(_words(" ".join(span.split())), page, inline=True)


def _words(line: str) -> tuple[str, ...]:
    evaluated = re.fullmatch(r'eval "\$\((.*)\)"', line.strip())
    line = evaluated[1] if evaluated else line.removeprefix("$ ")
    words = shlex.split(line, comments=True)
    if "|" in words:
        words = words[: words.index("|")]  # what a shell does with the output is the shell's
    return tuple(word.removeprefix(".venv/bin/") for word in words)


def kind_of(command: Command) -> Kind | None:
    """What is done about a command.

    ``run``: run for real. ``parse``: its options are parsed; it would serve, or compute for long.
    ``name``: the sentence names a command and no more; it exists. ``make``: the target exists.
    ``module``: the Python module, or the extra that pip is to install, exists. ``system``: of the
    system or the shell.
    """
    first, *rest = command.words
    if first == "fly64":
        if rest[0].startswith("-") or (command.inline and len(rest) < 2):
            return "name"
        return "parse" if rest[0] == "ui" or LONG & set(rest) else "run"
    if first == "make":
        return "make"
    if first == "python":
        return "module"
    return "system" if first in SYSTEM else None


def parse(words: tuple[str, ...]) -> click.Context:
    """Options and arguments of ``fly64 ...``, held against the command without calling it.

    Raises:
        click.UsageError: there is no such command or option, or one is missing.
    """
    context = click.Context(main, info_name="fly64")
    name, command, rest = main.resolve_command(context, list(words[1:]))
    assert command is not None
    return command.make_context(name, rest, parent=context)


def problem_of(command: Command) -> str | None:
    """Why a command that is not run could not be run; None where nothing is wrong with it."""
    kind, (first, *rest) = kind_of(command), command.words
    if kind == "name":
        known = rest[0] in main.commands or rest[0].startswith("-")
        return None if known else f"there is no fly64 {rest[0]}"
    if kind == "parse":
        try:
            parse(command.words)
        except click.UsageError as error:
            return error.format_message()
        return None
    if kind == "make":
        done = subprocess.run(
            ["make", "-n", *rest], cwd=PROJECT_ROOT, capture_output=True, text=True
        )
        return done.stderr if done.returncode else None
    if kind == "module":
        return _problem_of_python(rest)
    if kind == "system" and first == "export":
        wrong = [word for word in rest if not EXPORTED.fullmatch(word)]
        return f"not a variable of the project: {wrong}" if wrong else None
    return None if kind == "system" else "of no kind"


def _problem_of_python(rest: list[str]) -> str | None:
    if rest[0] != "-m":
        return None if (PROJECT_ROOT / rest[0]).is_file() else f"there is no {rest[0]}"
    if rest[1] == "pip":
        wanted = re.findall(r"\[(\w+)\]", " ".join(rest))
        project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        missing = set(wanted) - set(project["optional-dependencies"])
        return f"no extra {missing}" if missing else None
    return None if importlib.util.find_spec(rest[1]) else f"there is no module {rest[1]}"
