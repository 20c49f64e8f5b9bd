"""Text on pictures: broken into lines that fit, in a font that has the letters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

# Where a system has them; Pillow looks in the system's own folders of fonts. Letters that none of them has are drawn as U+1234.
FALLBACKS = (
    "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "Arial.ttf", "msyh.ttc", "YuGothM.ttc",
    "PingFang.ttc",
)  # fmt: skip
# A private code point: no font has a letter there, so it looks as a missing one does.
MISSING = "\uf8fe"
MOST_CHARACTERS = 1000
MOST_LINES = 40

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class TextLine:
    """One line.  font: that has its letters."""

    text: str
    font: Font
    colour: str
    is_struck: bool


@dataclass(frozen=True)
class TextBlock:
    """Lines under each other, centred.  line_height: pixels."""

    lines: tuple[TextLine, ...]
    line_height: int

    @property
    def height(self) -> int:
        """Of all lines, pixels."""
        return self.line_height * len(self.lines)

    def draw(self, pen: ImageDraw.ImageDraw, middle: int, top: int) -> None:
        """middle: the horizontal centre."""
        for number, line in enumerate(self.lines):
            y = top + number * self.line_height
            pen.text((middle, y), line.text, font=line.font, fill=line.colour, anchor="ma")
            if line.is_struck:
                half, strike = line.font.getlength(line.text) / 2, y + self.line_height * 0.45
                pen.line((middle - half, strike, middle + half, strike), fill=line.colour, width=max(self.line_height // 16, 1))


class Lettering:
    """Fonts of one size.  size: pixels, at least 6."""

    def __init__(self, size: int) -> None:
        self._size = max(size, 6)
        self._fonts = [ImageFont.load_default(self._size)]
        self._fallbacks = list(FALLBACKS)

    def block(self, texts: Iterable[tuple[str, str, bool]], width: int) -> TextBlock:
        """texts: (text, colour, whether it is struck out).   width: pixels that a line may have."""
        lines: list[TextLine] = []
        for text, colour, is_struck in texts:
            shown = text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
            font, shown = self._font_for(" ".join(shown.split()))
            lines += [TextLine(line, font, colour, is_struck) for line in _wrapped(shown, font, max(width - self._size // 2, 1))]
        if len(lines) > MOST_LINES:
            last = lines[MOST_LINES - 1]
            lines = [*lines[: MOST_LINES - 1], TextLine("…", last.font, last.colour, is_struck=False)]
        return TextBlock(tuple(lines), int(self._size * 1.4))

    def _font_for(self, text: str) -> tuple[Font, str]:
        """A font with all letters of the text; else the first, and the text with the missing ones spelled out."""
        for font in self._all_fonts():
            if not _missing_in(font, text):
                return font, text
        first = self._fonts[0]
        missing = _missing_in(first, text)
        return first, "".join(f"U+{ord(letter):04X} " if letter in missing else letter for letter in text)

    def _all_fonts(self) -> Iterable[Font]:
        """Those at hand, and then each fallback as it is found."""
        yield from list(self._fonts)
        while self._fallbacks:
            try:
                font = ImageFont.truetype(self._fallbacks.pop(0), self._size)
            except OSError:
                continue
            self._fonts.append(font)
            yield font


def _missing_in(font: Font, text: str) -> frozenset[str]:
    nothing = bytes(font.getmask(MISSING))
    return frozenset(letter for letter in set(text) if not letter.isspace() and bytes(font.getmask(letter)) == nothing)


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """The text in lines of at most this width, broken at spaces; a longer word is broken where the line ends."""
    lines = [""]
    for word in text.split(" "):
        tried = f"{lines[-1]} {word}" if lines[-1] else word
        if font.getlength(tried) <= width:
            lines[-1] = tried
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
