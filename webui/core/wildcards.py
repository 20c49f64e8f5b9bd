"""Prompt templates: __name__ stands for a line of a file of wildcards/, {a|b|c} for one of its options. Each seed draws anew.

The syntax is sd-dynamic-prompts':

    __colour__   __animals/pets__   __animals*__      any option of that file, or of all files that the pattern finds
    {red|green}   {2::red|1::green}                   one option; red twice as often as green
    {2$$a|b|c}   {1-2$$a|b|c}   {-2$$...}   {1-$$...} two different options; one or two; at most two; at least one
    {2$$ and $$a|b|c}                                 joined by " and " instead of ", "
    {2$$__colour__}                                   two different options of a file

Options may hold all of this again. Left as it stands: {a} without "|" or "$$", what follows a backslash (and the backslash), an
unclosed "{", a "|" within square brackets, an unknown name. Not of that syntax: variables ${...}, and templates with arguments.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random

from webui.core.errors import InvalidRequest
from webui.core.wildcard_files import Options, WildcardFolder, split_weight

# Of names within options of names. A file may name itself, "very __very__", and then ends when another option is drawn.
MAX_NESTING = 50
# Of the drawn prompt; as long as a prompt may be.
MAX_CHARACTERS = 100_000
# Characters read and options weighed: a second or two.
MAX_WORK = 2_000_000
MAX_REMARKS = 20

# Possessive (++, }+): nothing is tried at another length.
_LEXEME = re.compile(
    r"""
    \\.?
  | __(?![\s_])(?P<name>(?:[^\\{}\[\]()<>|$\#:,;"=\n_]|_(?!_)){1,200}+)(?<!\s)__
  | (?P<mark>[{}\[\]|])
  | (?:[^\\{}\[\]|_]|_(?!_))++
  | _
    """,
    re.VERBOSE | re.DOTALL,
)
_COUNT = re.compile(r"\s*+(?:(?P<low>[0-9]{1,4})(?P<open>-?)(?P<high>[0-9]{0,4})|-(?P<most>[0-9]{1,4}))\$\$(?:(?P<separator>[^$]*+)\$\$)?")


@dataclass(frozen=True)
class Expanded:
    """A prompt drawn from a template, and what the user should know about it.  work: characters read and options weighed."""

    text: str
    remarks: tuple[str, ...] = ()
    work: int = 0


class Wildcards:
    """Draws prompts from templates with the files of a folder, as they are at that moment. For any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = WildcardFolder(folder)

    def names(self) -> tuple[str, ...]:
        """What may stand between the underscores, sorted."""
        return self._files.names()

    def expand(self, template: str, seed: int) -> Expanded:
        """The prompt that this seed draws, always the same while the files are.

        Raises InvalidRequest for a template that would become too long, or takes too much work, or does not end.
        """
        draw = _Draw(self._files, Random(seed))
        text = draw.run(template)
        remarks = [f"There is no wildcard {name!r} in {self._folder.name}/; it is drawn as text." for name in draw.unknown]
        return Expanded(text, (*remarks[:MAX_REMARKS], *(self._files.damage()[:MAX_REMARKS] if remarks else ())), draw.work)


def has_wildcards(text: str) -> bool:
    """Whether it is a template: drawing from it may give another text."""
    return any(not isinstance(node, str) for node in _parse(text))


@dataclass(frozen=True, eq=False)
class _Name:
    """A name, and how it is written."""

    name: str
    text: str


@dataclass(frozen=True, eq=False)
class _Choice:
    """Draw `low` to `high` of the options; None: all of them."""

    options: tuple[tuple[_Node, ...], ...]
    weights: tuple[float, ...]
    low: int = 1
    high: int | None = 1
    separator: str = ", "

    @property
    def only_name(self) -> _Name | None:
        """The name that alone is its only option: "{2$$__name__}" draws twice from it."""
        nodes = [node for node in self.options[0] if not isinstance(node, str) or node.strip()]
        return nodes[0] if len(self.options) == len(nodes) == 1 and isinstance(nodes[0], _Name) else None


_Node = str | _Name | _Choice


@dataclass
class _Bracket:
    """An open bracket: where it stands among the nodes, and the "|" in it."""

    kind: str
    at: int
    bars: list[int] = field(default_factory=list)


def _parse(template: str) -> list[_Node]:
    """Text, names and choices in order. Nothing recurses, however deep the braces are."""
    nodes: list[_Node] = []
    opened: list[_Bracket] = []
    braces = 0
    for lexeme in _LEXEME.finditer(template):
        mark = lexeme["mark"]
        nodes.append(_Name(lexeme["name"], lexeme.group()) if lexeme["name"] else lexeme.group())
        if mark in ("{", "["):
            opened.append(_Bracket(mark, len(nodes) - 1))
            braces += mark == "{"
        elif mark == "]" and opened and opened[-1].kind == "[":
            opened.pop()
        elif mark == "|" and opened:
            opened[-1].bars.append(len(nodes) - 1)
        elif mark == "}" and braces:
            braces -= 1
            _close(opened, nodes)
    return nodes


def _close(opened: list[_Bracket], nodes: list[_Node]) -> None:
    """Make a choice of the nodes from the last open brace on, if they are one."""
    bars: list[int] = []
    # A square bracket that nothing closed is text: what is in it is the brace's.
    while (bracket := opened.pop()).kind == "[":
        bars.extend(bracket.bars)
    bars = sorted((*bars, *bracket.bars))
    first = nodes[bracket.at + 1]
    count = _COUNT.match(first) if isinstance(first, str) else None
    if not bars and count is None:
        return
    options, weights = [], []
    for start, end in zip((bracket.at, *bars), (*bars, len(nodes) - 1), strict=True):
        option = nodes[start + 1 : end]
        if option and isinstance(option[0], str):
            text = option[0][count.end() :] if count and start == bracket.at else option[0]
            option[0], weight = split_weight(text)
        else:
            weight = 1.0
        options.append(tuple(option))
        weights.append(weight)
    del nodes[bracket.at :]
    nodes.append(_Choice(tuple(options), tuple(weights), *(_bounds(count) if count else ())))


def _bounds(count: re.Match[str]) -> tuple[int, int | None, str]:
    """How many to draw at least and at most (None: all), and what to put between."""
    separator = ", " if count["separator"] is None else count["separator"]
    if count["most"]:
        return min(1, int(count["most"])), int(count["most"]), separator
    low = int(count["low"])
    if not count["high"]:
        return low, None if count["open"] else low, separator
    return min(low, int(count["high"])), max(low, int(count["high"])), separator


class _Draw:
    """One drawing from a template.  unknown: names without options, in the order they were met."""

    def __init__(self, files: WildcardFolder, random: Random) -> None:
        self._files = files
        self._random = random
        self.work = 0
        self._found: dict[str, Options] = {}
        self.unknown: dict[str, None] = {}

    def run(self, template: str) -> str:
        texts: list[str] = []
        length = 0
        # What is still to be drawn, the next one last, with the number of files it comes through.
        waiting = self._read(template, 0)
        while waiting:
            node, depth = waiting.pop()
            self._spend(1)
            if isinstance(node, str):
                texts.append(node)
                length += len(node)
            else:
                waiting += self._draw(node, depth)
            if length > MAX_CHARACTERS:
                raise InvalidRequest(
                    f"The wildcards of this prompt make more than {MAX_CHARACTERS:,} characters. Use fewer or shorter ones."
                )
        return "".join(texts)

    def _read(self, template: str, depth: int) -> list[tuple[_Node, int]]:
        """The nodes of a template, the first one last."""
        if depth > MAX_NESTING:
            raise InvalidRequest(f"The wildcards of this prompt are nested deeper than {MAX_NESTING}. Does a file name itself?")
        self._spend(len(template))
        return [(node, depth) for node in reversed(_parse(template))]

    def _draw(self, node: _Name | _Choice, depth: int) -> list[tuple[_Node, int]]:
        """What is drawn for a node, the first of it last."""
        choice = node if isinstance(node, _Choice) else _Choice(((node,),), (1.0,))
        name = choice.only_name
        if name is None:
            indices = self._indices(choice.weights, choice)
            drawn = [[(each, depth) for each in reversed(choice.options[index])] for index in indices]
        else:
            options = self._find(name.name)
            if not options.texts:
                return [(name.text, depth)]
            drawn = [self._read(options.texts[index], depth + 1) for index in self._indices(options.weights, choice)]
        waiting: list[tuple[_Node, int]] = []
        # An empty option is not joined: "{2$$a|}" is "a".
        for each in reversed(list(filter(None, drawn))):
            waiting += [(choice.separator, depth), *each] if waiting else each
        return waiting

    def _find(self, name: str) -> Options:
        if name not in self._found:
            self._found[name] = self._files.find(name)
            if not self._found[name].texts:
                self.unknown[name] = None
        return self._found[name]

    def _indices(self, weights: Sequence[float], choice: _Choice) -> list[int]:
        """Different ones, as many as the choice asks for or there are, each drawn by weight from those that are left."""
        self._spend(len(weights))
        if not any(weights):
            weights = [1.0] * len(weights)
        high = len(weights) if choice.high is None else choice.high
        count = choice.low
        if high > count:
            count += int(self._random.random() * (high - count + 1))
        if count == 1:
            ends = list(accumulate(weights))
            return [bisect_right(ends, self._random.random() * ends[-1], hi=len(ends) - 1)]
        # Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir".
        keys = sorted((-math.log(1 - self._random.random()) / weight, index) for index, weight in enumerate(weights) if weight)
        return [index for _, index in keys[:count]]

    def _spend(self, work: int) -> None:
        self.work += work
        if self.work > MAX_WORK:
            raise InvalidRequest("The wildcards of this prompt take too much work: too many, too large, or nested too often. Use fewer.")
