"""One import: its file, what was stated, what is changed, and all that it asks, told at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fly64_assets.errors import InputError
from fly64_assets.ptychography.importing.questions import QUESTIONS, Answers, option
from fly64_assets.ptychography.importing.source import Source
from fly64_assets.study.hashing import sha256_of

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many frames are done, and of how many."""

STATED = "stated"
"""The reason of a change that an answer decided."""


@dataclass(frozen=True)
class Change:
    """One step from the foreign file to DATA-001.

    Attributes:
        key: the DATA-001 key, or the name in the file of what was dropped.
        change: what was done, in a word or two.
        before, after: as JSON values.
        reason: why, or how it was known.
    """

    key: str
    change: str
    before: Any
    after: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.change}: {self.before} -> {self.after} ({self.reason})"


class OpenQuestions(InputError):
    """Everything that a file leaves open, at once.

    Attributes:
        questions: one error a question; the last may be what comes up if all suggestions are taken.
        options: of ``fly64 import``: what was stated and what is suggested; where nothing can be
            suggested the value is in capitals.
    """

    def __init__(self, questions: list[InputError], options: str) -> None:
        first = questions[0]
        super().__init__(first.source, first.key, first.problem)
        self.questions, self.options = tuple(questions), options

    def __str__(self) -> str:
        return "\n".join(str(question) for question in self.questions)


class ChangeLog:
    """What every step of an import needs to know and where it says what it did.

    Attributes:
        source: the foreign file.
        answers: what was stated.
        progress: to be called after each block of frames.
        changes: every change, in the order in which it is made.
        inputs: name -> sha256 of every file that went in.
    """

    def __init__(self, source: Source, answers: Answers, progress: Progress) -> None:
        self.source, self.answers, self.progress = source, answers, progress
        self.changes: list[Change] = []
        self.inputs = {source.path.name: sha256_of(source.path)}
        self._questions: list[InputError] = []
        self._suggested: dict[str, Any] = {}
        self._raised: set[str] = set()

    def add(self, key: str, change: str, before: Any, after: Any, reason: str) -> None:
        """Note a change; see `Change`."""
        self.changes.append(Change(key, change, before, after, reason))

    def need(self, name: str) -> None:
        """Note that the file raises a question, whether or not it was answered."""
        self._raised.add(name)

    def ask(self, key: str, name: str, suggested: Mapping[str, Any], /, **evidence: Any) -> None:
        """Ask a row of `QUESTIONS`; the conversion goes on with what is suggested, to find others.

        Args:
            key: what it is about.
            name: of the row.
            suggested: name -> answer; a word in capitals where there is none to go on with.
            evidence: what the row's words want.
        """
        if "keys" not in suggested and suggested.keys() <= self._suggested.keys():
            return  # the same of another array
        question = QUESTIONS[name].words.format(**evidence)
        self._questions.append(self.source.error(key, question))
        keys = {**self._suggested.get("keys", {}), **suggested.get("keys", {})}
        self._suggested |= {**suggested, "keys": keys}

    def refuse_open(self, consequence: InputError | None = None) -> None:
        """Raise every open question, if there is one, and what came up after them."""
        if not self._questions:
            return
        if consequence is not None:
            consequence.problem = f"with what is suggested: {consequence.problem}"
            self._questions.append(consequence)
        raise self.open_questions()

    def open_questions(self) -> OpenQuestions:
        """Gather every open question; there is one."""
        return OpenQuestions(self._questions, self._options())

    def _options(self) -> str:
        given = self.answers.given()
        keys = {**given.pop("keys", {}), **self._suggested.pop("keys", {})}
        parts = [("keys", f"{key}={name}") for key, name in keys.items()]
        for name, value in {**given, **self._suggested}.items():
            parts += [(name, str(one)) for one in (value if isinstance(value, tuple) else [value])]
        return " ".join(
            option(name, shlex.quote(value) if value.isprintable() else "NAME")
            for name, value in parts
        )

    def refuse_unneeded(self) -> None:
        """Refuse an answer to a question that the file did not raise: something was misunderstood.

        Raises:
            InputError: names the option, its value and why there is no such question.
        """
        for name, value in self.answers.stated().items():
            reason = QUESTIONS[name].unneeded
            if reason and name not in self._raised:
                problem = f"{value} was stated, but {reason}: leave it out"
                raise InputError(option(name), "", problem)
