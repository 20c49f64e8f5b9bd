"""Pictures as bytes: encoding with text inside, and decoding what the outside sends, within caps."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zlib
from collections.abc import Iterator, Mapping

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from webui.core.errors import InvalidRequest

MAX_PIXELS = 8192 * 8192
MAX_ENCODED = 256 * 1024 * 1024
MAX_TEXT = 8 * 1024 * 1024
MAX_CHUNKS = 100_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FAST = 1
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40}(?:;[\w.=+-]{1,80}){0,4};base64,", re.ASCII | re.IGNORECASE)
# Everything Pillow's readers raise on damaged input; they have no common base.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def encode_png(image: Image.Image, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts in it, compressed little because saving should be quick.

    Text goes into tEXt chunks where Latin-1 can say it, else into uncompressed iTXt, as A1111's readers expect.
    """
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info, compress_level=_FAST)
    return buffer.getvalue()


def read_png_texts(data: bytes) -> dict[str, str]:
    """The texts inside a PNG by key, without decoding its pixels; of a file cut short, those before the cut.

    Raises InvalidRequest for anything but a PNG, and when the texts unpack to more than MAX_TEXT bytes.
    """
    texts: dict[str, str] = {}
    room = MAX_TEXT
    for kind, content in _chunks(data):
        found = _read_text(kind, content, room)
        if found:
            key, text, used = found
            room -= used
            texts[key] = text
    return texts


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in these bytes, upright; of an animation, the first frame alone is decoded.

    Raises InvalidRequest before any pixel is unpacked when the header promises more than max_pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except _UNREADABLE as error:
        raise InvalidRequest(f"The picture cannot be read ({_reason(error)}). Send one of {', '.join(FORMATS)}.") from None
    if image.width * image.height > max_pixels:
        raise InvalidRequest(f"The picture is {image.width}x{image.height}; at most {max_pixels} pixels are accepted. Send a smaller one.")
    try:
        image.load()
    except _UNREADABLE as error:
        raise InvalidRequest(f"The picture is damaged ({_reason(error)}). Send it again.") from None
    try:
        return ImageOps.exif_transpose(image)
    except _UNREADABLE:
        # A sound picture whose EXIF block is broken has no orientation to obey.
        return image


def decode_base64_image(text: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in a base64 text, with or without "data:image/...;base64," before it.

    Raises InvalidRequest with A1111's words when the text is not base64 or the bytes are no picture.
    """
    prefix = _DATA_URL.match(text)
    body = text[prefix.end() :] if prefix else text
    if len(body) > MAX_ENCODED:
        raise InvalidRequest(f"Invalid encoded image: {len(body)} characters; at most {MAX_ENCODED} are accepted.")
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("Invalid encoded image") from None
    if not data:
        raise InvalidRequest("Invalid encoded image")
    try:
        return decode_image(data, max_pixels=max_pixels)
    except InvalidRequest as error:
        raise InvalidRequest(f"Invalid encoded image: {error}") from None


def image_to_base64(data: bytes) -> str:
    """The bytes of a picture file as base64, without a prefix, as /sdapi answers."""
    return base64.b64encode(data).decode("ascii")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise InvalidRequest("This is not a PNG file; only a PNG carries text chunks.")
    position = len(_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        position = start + length + 4
        if kind == b"IEND" or start + length > len(data):
            return
        # Pixels are skipped without copying them.
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield kind, data[start : start + length]


def _read_text(kind: bytes, content: bytes, room: int) -> tuple[str, str, int] | None:
    """Key, text and the bytes the text unpacks to; None for a malformed chunk."""
    key, separator, rest = content.partition(b"\0")
    if not separator or not key:
        return None
    if kind == b"tEXt":
        packed, raw, encoding = False, rest, "latin-1"
    elif kind == b"zTXt":
        packed, raw, encoding = True, rest[1:], "latin-1"
    else:
        parts = rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            return None
        packed, raw, encoding = rest[:1] == b"\1", parts[2], "utf-8"
    unpacked = _unpack(raw, room) if packed else raw
    if unpacked is None:
        return None
    if len(unpacked) > room:
        raise InvalidRequest(f"The picture carries more than {MAX_TEXT} bytes of text; that is refused as a decompression bomb.")
    return key.decode("latin-1"), unpacked.decode(encoding, "replace"), len(unpacked)


def _unpack(packed: bytes, room: int) -> bytes | None:
    """At most one byte more than there is room for; None when it is not a zlib stream."""
    try:
        return zlib.decompressobj().decompress(packed, room + 1)
    except zlib.error:
        return None


def _reason(error: Exception) -> str:
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
