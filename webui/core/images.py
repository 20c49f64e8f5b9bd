"""Pictures as bytes: encoding with text inside, and decoding what the outside sends, within caps."""

from __future__ import annotations

import base64
import binascii
import io
import math
import re
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.exif import write_exif
from webui.core.picture_formats import MAX_SIDE, SAVED_AS
from webui.core.png import SIGNATURE, can_write, text_chunk, write_png
from webui.core.record import storable

MAX_PIXELS = 8192 * 8192
MAX_ENCODED = 256 * 1024 * 1024
MAX_TEXT = 8 * 1024 * 1024
MAX_CHUNKS = 100_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")

# Where a picture's texts stand in a PNG: A1111's name for the infotext, and ours for the record; in EXIF the MakerNote begins so.
INFOTEXT_KEY, RECORD_KEY = "parameters", "webui"
RECORD_NOTE = b"webui\0"
MAX_JPEG_EXIF = 65533

_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_FAST = 1
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40}(?:;[\w.=+-]{1,80}){0,4};base64,", re.ASCII | re.IGNORECASE)
# Everything Pillow's readers raise on damaged input; they have no common base.
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class EncodedPicture:
    """A picture file's bytes.  suffix: with its dot, of the format really used."""

    data: bytes
    suffix: str


def encode_picture(
    image: Image.Image, suffix: str, *, infotext: str = "", record: str = "", quality: int = 80, lossless: bool = False
) -> EncodedPicture:
    """A picture file with these texts in it, where A1111 and its readers look for the infotext.

    suffix: one of SAVED_AS.   quality: 1..100, of every format but PNG.   lossless: of WebP.
    A picture too large for the format, or a text too long for a JPEG, makes it a PNG.  Raises UnknownName.
    """
    kind = SAVED_AS.get(suffix.lower().removeprefix("."))
    if kind is None:
        raise UnknownName("picture format", suffix, SAVED_AS)
    infotext, record = storable(infotext), storable(record)
    exif = write_exif(infotext, RECORD_NOTE + record.encode() if record else b"") if infotext or record else b""
    too_large = max(image.size) > MAX_SIDE.get(kind, max(image.size)) or (kind == "JPEG" and len(exif) > MAX_JPEG_EXIF)
    if kind == "PNG" or too_large:
        texts = {INFOTEXT_KEY: infotext, RECORD_KEY: record}
        return EncodedPicture(encode_png(image, {key: text for key, text in texts.items() if text}), ".png")
    if kind != "AVIF" and image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=quality, exif=exif, **({"lossless": lossless} if kind == "WEBP" else {}))
    return EncodedPicture(buffer.getvalue(), f".{suffix.lower().removeprefix('.')}")


def encode_png(image: Image.Image, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts in it, compressed little because saving should be quick.

    Text goes into tEXt chunks where Latin-1 can say it, else into uncompressed iTXt, as A1111's readers expect; the record always
    into iTXt.
    """
    if can_write(image):
        return write_png(image, [text_chunk(key, text, international=key == RECORD_KEY) for key, text in texts.items()])
    info = PngInfo()
    for key, text in texts.items():
        if key == RECORD_KEY:
            info.add_itxt(key, text)
        else:
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
    for kind, content in png_chunks(data, _TEXT_CHUNKS):
        found = _read_text(kind, content, room)
        if found:
            key, text, used = found
            room -= used
            texts[key] = text
    return texts


def png_chunks(data: bytes, kinds: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the PNG's chunks of these kinds, as far as the file reaches.  Raises InvalidRequest for anything but a PNG."""
    if not data.startswith(SIGNATURE):
        raise InvalidRequest("This is not a PNG file; only a PNG carries text chunks.")
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        position = start + length + 4
        if kind == b"IEND" or start + length > len(data):
            return
        # Pixels are skipped without copying them.
        if kind in kinds:
            yield kind, data[start : start + length]


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in these bytes, upright; of an animation, the first frame alone is decoded.

    Raises InvalidRequest before any pixel is unpacked when the header promises more than max_pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UNREADABLE as error:
        raise InvalidRequest(f"The picture cannot be read ({_reason(error)}). Send one of {', '.join(FORMATS)}.") from None
    if image.width * image.height > max_pixels:
        raise InvalidRequest(f"The picture is {image.width}x{image.height}; at most {max_pixels} pixels are accepted. Send a smaller one.")
    try:
        image.load()
    except UNREADABLE as error:
        raise InvalidRequest(f"The picture is damaged ({_reason(error)}). Send it again.") from None
    try:
        return ImageOps.exif_transpose(image)
    except UNREADABLE:
        # A sound picture whose EXIF block is broken has no orientation to obey.
        return image


def small_webp(data: bytes, side: int = 320) -> bytes:
    """A picture's file as one whose longer side is at most `side` pixels, with its transparency.  Raises InvalidRequest."""
    image = decode_image(data)
    image = image.convert("RGBA" if "A" in image.mode or "transparency" in image.info else "RGB")
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def decode_base64_image(text: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in a base64 text, with or without "data:image/...;base64," before it.

    Raises InvalidRequest with A1111's words when the text is not base64 or the bytes are no picture.
    """
    data = decode_base64(text)
    try:
        return decode_image(data, max_pixels=max_pixels)
    except InvalidRequest as error:
        raise InvalidRequest(f"Invalid encoded image: {error}") from None


def decode_base64(text: str) -> bytes:
    """The bytes of a picture file in a base64 text, with or without "data:image/...;base64," before it.  Raises InvalidRequest."""
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
    return data


def fitting_scale(width: int, height: int) -> float:
    """How much smaller, 1 being not at all, a picture of this size has to be to stay within MAX_PIXELS, so that it can be read again."""
    return min(1.0, math.sqrt(MAX_PIXELS / max(width * height, 1)))


def scaled(image: Image.Image, scale: float) -> Image.Image:
    """The picture made smaller by this factor; itself where that is 1."""
    if scale >= 1.0:
        return image
    return image.resize((max(int(image.width * scale), 1), max(int(image.height * scale), 1)), Image.Resampling.LANCZOS)


def image_to_base64(data: bytes) -> str:
    """The bytes of a picture file as base64, without a prefix, as /sdapi answers."""
    return base64.b64encode(data).decode("ascii")


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
