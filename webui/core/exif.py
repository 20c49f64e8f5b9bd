"""The few EXIF fields that carry text: written as A1111 does, read from anybody. No pixels, and no file, are touched.

Source: EXIF 2.32 (CIPA DC-008) and TIFF 6.0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

PREFIX = b"Exif\0\0"

DESCRIPTION, MAKE, MODEL, SOFTWARE = 0x010E, 0x010F, 0x0110, 0x0131
EXIF_FOLDER, MAKER_NOTE, USER_COMMENT = 0x8769, 0x927C, 0x9286
_WANTED = frozenset({DESCRIPTION, MAKE, MODEL, SOFTWARE, MAKER_NOTE, USER_COMMENT})

_BYTE, _ASCII, _LONG, _UNDEFINED = 1, 2, 4, 7
_ENTRY_SIZE = 12
_INLINE = 4
_HEADER_SIZE = 8

_UNICODE = b"UNICODE\0"
_OTHER_CODES = ((b"ASCII\0\0\0", "utf-8"), (b"JIS\0\0\0\0\0", "shift_jis"), (b"\0" * 8, "utf-8"))
_PARAMETERS = re.compile("(?:Steps|Seed|Sampler): ")


def write_exif(comment: str, note: bytes = b"") -> bytes:
    """An EXIF block, with its prefix, whose UserComment is this text in big-endian UTF-16, and whose MakerNote is these bytes.

    A1111 (through piexif) writes and reads comments so. Neither may hold an unpaired surrogate.
    """
    values = {MAKER_NOTE: note, USER_COMMENT: _UNICODE + comment.encode("utf-16-be")}
    values = {tag: value for tag, value in values.items() if value}
    folder = _HEADER_SIZE + 2 + _ENTRY_SIZE + 4
    position = folder + 2 + _ENTRY_SIZE * len(values) + 4
    entries, contents = b"", b""
    for tag, value in values.items():
        entries += struct.pack(">HHI", tag, _UNDEFINED, len(value))
        if len(value) <= _INLINE:
            entries += value.ljust(_INLINE, b"\0")
        else:
            entries += struct.pack(">I", position + len(contents))
            contents += value + b"\0" * (len(value) % 2)
    first = struct.pack(">2sHI", b"MM", 42, _HEADER_SIZE) + struct.pack(">HHHIII", 1, EXIF_FOLDER, _LONG, 1, folder, 0)
    return PREFIX + first + struct.pack(">H", len(values)) + entries + struct.pack(">I", 0) + contents


def read_exif(data: bytes) -> Mapping[int, bytes]:
    """The text fields of an EXIF block by tag, as they stand there; damaged ones are left out.

    data: with or without its prefix.  Each field is taken where it is first found, so at most one copy of the block is made a field.
    """
    data = data.removeprefix(PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < _HEADER_SIZE:
        return {}
    found: dict[int, bytes] = {}
    folders = [struct.unpack_from(order + "I", data, 4)[0]]
    for folder in folders:
        for tag, kind, count, place in _entries(data, order, folder):
            if tag == EXIF_FOLDER and kind == _LONG and len(folders) == 1:
                folders.append(struct.unpack_from(order + "I", data, place)[0])
            elif tag in _WANTED and kind in (_BYTE, _ASCII, _UNDEFINED) and tag not in found:
                found[tag] = _value(data, order, count, place)
    return {tag: value for tag, value in found.items() if value}


def decode_comment(value: bytes) -> str:
    """The text of a UserComment, whose first eight bytes should name its code."""
    if value.startswith(_UNICODE):
        return _decode_utf16(value[len(_UNICODE) :]).rstrip("\0")
    for code, encoding in _OTHER_CODES:
        if value.startswith(code):
            return value[len(code) :].decode(encoding, "replace").rstrip("\0")
    return decode_text(value)


def decode_text(value: bytes) -> str:
    """The text of another field: ASCII by the standard, UTF-8 in practice."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _decode_utf16(value: bytes) -> str:
    """Big-endian as A1111 has it, unless only the other order, which some programs use, gives an infotext or JSON."""
    big, little = (value.decode(encoding, "replace") for encoding in ("utf-16-be", "utf-16-le"))
    return little.removeprefix("\ufeff") if not _is_generated(big) and _is_generated(little) else big


def _is_generated(text: str) -> bool:
    return text.lstrip().startswith("{") or _PARAMETERS.search(text) is not None


def _entries(data: bytes, order: str, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and the place of the value field of each entry of a folder, as far as the block reaches."""
    if start + 2 > len(data):
        return
    (count,) = struct.unpack_from(order + "H", data, start)
    for place in range(start + 2, min(start + 2 + count * _ENTRY_SIZE, len(data) - _ENTRY_SIZE + 1), _ENTRY_SIZE):
        tag, kind, length = struct.unpack_from(order + "HHI", data, place)
        yield tag, kind, length, place + 8


def _value(data: bytes, order: str, count: int, place: int) -> bytes:
    """The bytes of a value; none when the block ends before they do."""
    start = place if count <= _INLINE else struct.unpack_from(order + "I", data, place)[0]
    return data[start : start + count] if start + count <= len(data) else b""
