"""The texts inside a picture file, by key, of PNG, JPEG, WebP, AVIF and GIF. No pixel is decoded; what is damaged is left out."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

from PIL import Image

from webui.core import exif
from webui.core.errors import InvalidRequest
from webui.core.images import INFOTEXT_KEY, MAX_CHUNKS, MAX_TEXT, RECORD_KEY, RECORD_NOTE, UNREADABLE, png_chunks, read_png_texts

COMMENT_KEY = "comment"

_EXIF_KEYS = ((exif.SOFTWARE, "Software"), (exif.DESCRIPTION, "Description"))
# ComfyUI's WebP files say "prompt:{...}" and "workflow:{...}" in fields that name the camera.
_COMFY_FIELDS = (exif.MAKE, exif.MODEL)
_COMFY_KEYS = frozenset({"prompt", "workflow"})
_FOOOCUS_SCHEMES = (b"fooocus", b"a1111")


def read_texts(data: bytes) -> dict[str, str]:
    """What a picture file says of itself: PNG's texts by their keys, EXIF's fields and a comment under the keys below.

    "parameters": the infotext; EXIF's, where there is one, before PNG's, as in A1111.   "webui": our record.   "comment": of GIF and JPEG.
    "Software", "Description", "prompt", "workflow": as other programs leave them in EXIF.   "fooocus_scheme": Fooocus' MakerNote.
    Raises InvalidRequest for a file of another kind, and for more than MAX_TEXT bytes of text.
    """
    for is_kind, read in _READERS:
        if is_kind(data):
            return read(data)
    raise InvalidRequest("This is not a picture whose texts can be read. Send a PNG, JPEG, WebP, AVIF or GIF file.")


def _read_png(data: bytes) -> dict[str, str]:
    texts = read_png_texts(data)
    block = next((content for _, content in png_chunks(data, (b"eXIf",))), b"")
    return texts | _exif_texts(block)


def _read_jpeg(data: bytes) -> dict[str, str]:
    """EXIF may be cut over several segments; comments are joined."""
    blocks: list[bytes] = []
    comments: list[bytes] = []
    total = 0
    for kind, content in _jpeg_segments(data):
        total += len(content)
        _check(total)
        if kind == 0xFE:
            comments.append(content)
        elif content.startswith(exif.PREFIX):
            blocks.append(content.removeprefix(exif.PREFIX))
    return _comment_text(b"\n".join(comments)) | _exif_texts(b"".join(blocks))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Comments (FE) and application segments 1 (E1), up to where the pixels begin."""
    position = 2
    for _ in range(MAX_CHUNKS):
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        kind = data[position + 1]
        if kind == 0xFF:  # a filling byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if kind in (0xDA, 0xD9) or length < 2 or position + 2 + length > len(data):
            return
        if kind in (0xFE, 0xE1):
            yield kind, data[position + 4 : position + 2 + length]
        position += 2 + length


def _read_webp(data: bytes) -> dict[str, str]:
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return _exif_texts(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return {}


def _read_gif(data: bytes) -> dict[str, str]:
    """Comments before the first frame, joined, as far as the cap reaches."""
    data = data[:MAX_TEXT]
    if len(data) < 13:
        return {}
    flags = data[10]
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    comments: list[bytes] = []
    while data[position : position + 1] == b"!":
        is_comment = data[position + 1 : position + 2] == b"\xfe"
        content, position = _gif_blocks(data, position + 2)
        if is_comment:
            comments.append(content)
    return _comment_text(b"\n".join(comments))


def _gif_blocks(data: bytes, position: int) -> tuple[bytes, int]:
    """The joined blocks from there to their end, and the place after them."""
    blocks = []
    while position < len(data) and data[position]:
        size = data[position]
        blocks.append(data[position + 1 : position + 1 + size])
        position += 1 + size
    return b"".join(blocks), position + 1


def _read_avif(data: bytes) -> dict[str, str]:
    """Through Pillow, whose library reads the boxes alone until a pixel is asked for."""
    try:
        block = Image.open(io.BytesIO(data), formats=("AVIF",)).info.get("exif", b"")
    except UNREADABLE:
        return {}
    return _exif_texts(block)


def _exif_texts(block: bytes) -> dict[str, str]:
    _check(len(block))
    fields = exif.read_exif(block)
    texts = {key: exif.decode_text(fields[tag]) for tag, key in _EXIF_KEYS if tag in fields}
    for tag in _COMFY_FIELDS:
        key, _, value = exif.decode_text(fields.get(tag, b"")).partition(":")
        if key in _COMFY_KEYS:
            texts[key] = value
    if comment := exif.decode_comment(fields.get(exif.USER_COMMENT, b"")):
        texts[INFOTEXT_KEY] = comment
    note = fields.get(exif.MAKER_NOTE, b"")
    if note.startswith(RECORD_NOTE):
        texts[RECORD_KEY] = exif.decode_text(note.removeprefix(RECORD_NOTE))
    elif note.rstrip(b"\0") in _FOOOCUS_SCHEMES:
        texts["fooocus_scheme"] = exif.decode_text(note)
    return texts


def _comment_text(comment: bytes) -> dict[str, str]:
    return {COMMENT_KEY: exif.decode_text(comment)} if comment else {}


def _check(length: int) -> None:
    if length > MAX_TEXT:
        raise InvalidRequest(f"The picture carries more than {MAX_TEXT} bytes of text; that is refused.")


def _is_avif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1")


Reader = Callable[[bytes], dict[str, str]]
_READERS: tuple[tuple[Callable[[bytes], bool], Reader], ...] = (
    (lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _read_png),
    (lambda data: data.startswith(b"\xff\xd8"), _read_jpeg),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _read_webp),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _read_gif),
    (_is_avif, _read_avif),
)
