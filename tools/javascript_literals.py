"""The strings of a JavaScript source, without running it: what a reader of its texts needs of the language, and no more."""

from __future__ import annotations

import json
import re

STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
REGEX = re.compile(r"/(?![/*])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
# After these a slash begins an expression, not a division.
BEFORE_REGEX = "(,=:[!&|?{};><+"
SEEN_BEFORE = 60


class _Reader:
    """Reads one source from left to right, and gathers each string with its place."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[tuple[int, str]] = []

    def code(self, at: int) -> int:
        """Read up to the brace that closes the block which begins at `at`, or to the end; the place of it."""
        last = ""
        while at < len(self.source) and self.source[at] != "}":
            here = self.source[at]
            if match := COMMENT.match(self.source, at):
                at = match.end()
            elif match := STRING.match(self.source, at):
                self.found.append((at, json.loads(match[0]) if here == '"' else match[0][1:-1]))
                at, last = match.end(), here
            elif here == "`":
                at, last = self.template(at), here
            elif here == "/" and (not last or last in BEFORE_REGEX) and (match := REGEX.match(self.source, at)):
                at, last = match.end(), here
            elif here == "{":
                at, last = self.code(at + 1) + 1, "}"
            else:
                at, last = at + 1, last if here.isspace() else here
        return at

    def template(self, start: int) -> int:
        """Read a template, whose expressions become {1}, {2}, ...; the place behind it."""
        at, slots, text = start + 1, 0, ""
        while self.source[at] != "`":
            if self.source.startswith("${", at):
                slots += 1
                text += f"{{{slots}}}"
                at = self.code(at + 2) + 1
            else:
                at += self.source[at] == "\\"
                text += self.source[at]
                at += 1
        self.found.append((start, text))
        return at + 1


def literals(source: str) -> list[tuple[str, str]]:
    """Each string of a script in its order, with the code before it."""
    reader, at = _Reader(source), 0
    while at < len(source):
        at = reader.code(at) + 1
    return [(source[max(0, place - SEEN_BEFORE) : place], text) for place, text in sorted(reader.found)]
