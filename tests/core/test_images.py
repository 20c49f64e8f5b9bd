import base64
import io
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from webui.core.embedded_texts import read_texts
from webui.core.errors import InvalidRequest, UnknownName
from webui.core.images import (
    MAX_TEXT,
    SAVED_AS,
    decode_base64_image,
    decode_image,
    encode_picture,
    encode_png,
    image_to_base64,
    read_png_texts,
)  # fmt: skip

RED = Image.new("RGB", (3, 2), (200, 10, 10))


def encoded(image=RED, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*chunks):
    """A PNG with these chunks before its end."""
    plain = encoded()
    return plain[:-12] + b"".join(chunks) + plain[-12:]


# --- encode_png, read_png_texts


@pytest.mark.parametrize(
    ("text", "kind"), [("plain", b"tEXt"), ("déjà vu", b"tEXt"), ("猫 🐈", b"iTXt"), ("a\nb: c, d", b"tEXt"), ("", b"tEXt")]
)
def test_text_is_written_in_the_chunk_that_can_say_it(text, kind):
    data = encode_png(RED, {"parameters": text})
    assert kind in data
    assert read_png_texts(data) == {"parameters": text}
    assert Image.open(io.BytesIO(data)).text == {"parameters": text}


def test_several_texts_are_kept():
    assert read_png_texts(encode_png(RED, {"parameters": "a", "extras": "b"})) == {"parameters": "a", "extras": "b"}


def test_pixels_survive_exactly():
    noise = Image.effect_noise((40, 30), 90).convert("RGB")
    assert decode_image(encode_png(noise, {})).tobytes() == noise.tobytes()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_any_text_survives(text):
    assert read_png_texts(encode_png(RED, {"parameters": text})) == {"parameters": text}


def test_compressed_texts_of_other_writers_are_read():
    info = PngInfo()
    info.add_text("a", "plain", zip=True)
    info.add_itxt("b", "猫", "ja", "b", zip=True)
    assert read_png_texts(encoded(pnginfo=info)) == {"a": "plain", "b": "猫"}


def test_text_after_the_pixels_is_read():
    assert read_png_texts(png_with(chunk(b"tEXt", b"parameters\0late"))) == {"parameters": "late"}


def test_reading_texts_does_not_need_sound_pixels():
    damaged = png_with(chunk(b"tEXt", b"parameters\0x")).replace(b"IDAT", b"IDAX")
    assert read_png_texts(damaged) == {"parameters": "x"}


def test_of_a_file_cut_short_the_texts_before_the_cut_are_read():
    data = encode_png(RED, {"parameters": "a"}) + b"tail"
    assert read_png_texts(data[:-25]) == {"parameters": "a"}
    assert read_png_texts(data[:9]) == {}


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_text_that_unpacks_to_a_bomb_is_refused_without_unpacking_it(kind):
    packed = zlib.compress(bytes(200 * 1024 * 1024), 9)
    head = b"k\0\0" if kind == b"zTXt" else b"k\0\1\0\0\0"
    data = png_with(chunk(kind, head + packed))
    assert len(data) < 1024 * 1024
    started = time.perf_counter()
    with pytest.raises(InvalidRequest, match="decompression bomb"):
        read_png_texts(data)
    assert time.perf_counter() - started < 10


def test_many_texts_together_are_refused_as_one_too_long():
    packed = zlib.compress(bytes(MAX_TEXT // 4), 9)
    chunks = [chunk(b"zTXt", b"k%d\0\0" % number + packed) for number in range(5)]
    assert len(read_png_texts(png_with(*chunks[:4]))) == 4
    with pytest.raises(InvalidRequest, match="decompression bomb"):
        read_png_texts(png_with(*chunks))


def test_a_plain_text_over_the_cap_is_refused():
    with pytest.raises(InvalidRequest, match="bytes of text"):
        read_png_texts(png_with(chunk(b"tEXt", b"k\0" + bytes(MAX_TEXT + 1))))


@pytest.mark.parametrize(
    "damaged",
    [(b"tEXt", b"no separator"), (b"tEXt", b"\0no key"), (b"zTXt", b"k\0\0not zlib"), (b"iTXt", b"k\0\1"), (b"iTXt", b"k\0")],
)
def test_a_malformed_text_is_passed_over(damaged):
    assert read_png_texts(png_with(chunk(*damaged), chunk(b"tEXt", b"good\0x"))) == {"good": "x"}


def test_what_is_no_png_has_no_texts():
    with pytest.raises(InvalidRequest, match="not a PNG"):
        read_png_texts(encoded(kind="JPEG"))


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_after_a_signature_are_read_without_failing(tail):
    assert isinstance(read_png_texts(b"\x89PNG\r\n\x1a\n" + tail), dict)


# --- encode_picture


KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".avif": "AVIF"}


@pytest.mark.parametrize(("suffix", "kind"), KINDS.items())
def test_every_format_holds_both_texts(suffix, kind):
    encoded_picture = encode_picture(RED, suffix, infotext="a 猫\nSteps: 1", record='{"b":"é"}')
    assert encoded_picture.suffix == suffix
    assert Image.open(io.BytesIO(encoded_picture.data)).format == kind
    assert read_texts(encoded_picture.data) == {"parameters": "a 猫\nSteps: 1", "webui": '{"b":"é"}'}


def test_all_formats_are_tried():
    assert {suffix.removeprefix(".") for suffix in KINDS} == SAVED_AS.keys()


@pytest.mark.parametrize("suffix", KINDS)
def test_without_texts_the_file_says_nothing(suffix):
    assert read_texts(encode_picture(RED, suffix).data) == {}


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_the_infotext_stands_in_exif_as_a1111_reads_it(suffix):
    data = encode_picture(RED, suffix, infotext="a 猫").data
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(0x8769)[0x9286] == b"UNICODE\0" + "a 猫".encode("utf-16-be")


def test_the_record_is_an_international_text_chunk():
    assert b"iTXtwebui\0" in encode_picture(RED, "png", record="{}").data


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_quality_is_obeyed(suffix):
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    assert len(encode_picture(noise, suffix, quality=10).data) < len(encode_picture(noise, suffix, quality=95).data)


def test_webp_can_be_lossless():
    noise = Image.effect_noise((30, 20), 90).convert("RGB")
    assert decode_image(encode_picture(noise, "webp", lossless=True).data).tobytes() == noise.tobytes()
    assert decode_image(encode_picture(noise, "webp").data).tobytes() != noise.tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "CMYK", "1"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_pictures_of_other_modes_are_saved_without_transparency(mode, suffix):
    image = decode_image(encode_picture(Image.new(mode, (3, 2)), suffix).data)
    assert image.size == (3, 2)
    assert image.mode in ("RGB", "L")


def test_transparency_stays_where_a1111_keeps_it():
    assert decode_image(encode_picture(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "png").data).mode == "RGBA"


@pytest.mark.parametrize(
    ("suffix", "size", "expected"),
    [
        ("webp", (16384, 1), ".png"),
        ("webp", (1, 16384), ".png"),
        ("webp", (16383, 1), ".webp"),
        ("jpg", (65536, 1), ".png"),
        ("jpg", (65500, 1), ".jpg"),
        ("png", (65536, 1), ".png"),
    ],
)
def test_a_picture_too_large_for_the_format_becomes_a_png(suffix, size, expected):
    found = encode_picture(Image.new("L", size), suffix, infotext="a\nSteps: 1")
    assert found.suffix == expected
    assert Image.open(io.BytesIO(found.data)).size == size
    assert read_texts(found.data) == {"parameters": "a\nSteps: 1"}


@pytest.mark.parametrize(("suffix", "expected"), [(".jpg", ".png"), (".webp", ".webp"), (".avif", ".avif")])
def test_a_text_too_long_for_a_jpeg_makes_it_a_png(suffix, expected):
    text = "猫" * 100_000
    found = encode_picture(RED, suffix, infotext=text, record=text)
    assert found.suffix == expected
    assert read_texts(found.data) == {"parameters": text, "webui": text}


def test_the_longest_text_of_a_jpeg_is_saved_in_it():
    text = "x" * ((65533 - 6 - 26 - 18 - 8) // 2)
    assert [encode_picture(RED, "jpg", infotext=text + more).suffix for more in ("", "x")] == [".jpg", ".png"]
    assert read_texts(encode_picture(RED, "jpg", infotext=text).data) == {"parameters": text}


def test_half_a_character_does_not_cost_the_picture():
    for suffix in KINDS:
        assert read_texts(encode_picture(RED, suffix, infotext="a\ud800", record="b\udfff").data) == {"parameters": "a?", "webui": "b?"}


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="Did you mean 'webp'"):
        encode_picture(RED, "bmp")


# --- decode_image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP"])
def test_the_allowed_formats_are_decoded(kind):
    assert decode_image(encoded(kind=kind)).size == (3, 2)


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "PDF", "EPS"])
def test_other_formats_are_refused(kind):
    with pytest.raises(InvalidRequest, match="Send one of PNG, JPEG"):
        decode_image(encoded(kind=kind))


def promising(width, height):
    """A PNG whose header promises this size, with hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_a_picture_over_the_pixel_cap_is_refused_by_its_header(monkeypatch):
    data = encoded()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("pixels were decoded"))
    with pytest.raises(InvalidRequest, match="is 3x2; at most 5 pixels"):
        decode_image(data, max_pixels=5)


@pytest.mark.parametrize("size", [(8193, 8192), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_a_header_that_promises_a_bomb_is_refused(size):
    with pytest.raises(InvalidRequest):
        decode_image(promising(*size))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_only_the_first_frame_is_decoded(kind):
    frames = [Image.new("RGB", (8, 8), (number, 0, 255 - number)) for number in range(0, 250, 10)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {}))
    image = decode_image(data)
    assert image.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
    assert image.size == (8, 8)


def test_a_picture_taken_sideways_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(encoded(kind="JPEG", exif=exif)).size == (2, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_does_not_cost_the_picture():
    assert decode_image(encoded(kind="JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == (3, 2)


@pytest.mark.parametrize("keep", [0, 8, 30, 60])
def test_a_picture_cut_short_is_refused(keep):
    with pytest.raises(InvalidRequest):
        decode_image(encoded(Image.effect_noise((50, 50), 90))[:keep])


def test_a_text_bomb_inside_a_picture_is_refused():
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100 * 1024 * 1024), 9))
    plain = encoded()
    with pytest.raises(InvalidRequest):
        decode_image(plain[:33] + bomb + plain[33:])


SAMPLES = [encoded(kind=kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")]


@settings(deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_damage_is_decoded_or_refused(sample, data):
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_image(bytes(damaged), max_pixels=10_000)
    except InvalidRequest:
        return


def test_transparency_is_kept():
    assert decode_image(encoded(Image.new("RGBA", (2, 2), (1, 2, 3, 4)))).getpixel((0, 0)) == (1, 2, 3, 4)


# --- base64


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:image/svg+xml;charset=utf-8;base64,", "DATA:image/PNG;BASE64,"])
def test_base64_is_read_with_or_without_its_prefix(prefix):
    text = prefix + image_to_base64(encoded())
    assert decode_base64_image(text).tobytes() == RED.tobytes()


def test_base64_broken_into_lines_is_read():
    assert decode_base64_image(base64.encodebytes(encoded()).decode()).size == (3, 2)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "not base64!", "data:image/png;base64,", "data:text/plain;base64,aGk=", "aGVsbG8=", "http://127.0.0.1/x.png",
        "file:///etc/passwd", "/etc/passwd", "ünicode", "data:image/png," + "a" * 100, "data:image/png" + ";a=b" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_encoded_picture_is_refused_in_a1111s_words(text):
    with pytest.raises(InvalidRequest, match=r"^Invalid encoded image"):
        decode_base64_image(text)


def test_the_pixel_cap_holds_for_base64_too():
    with pytest.raises(InvalidRequest, match="at most 5 pixels"):
        decode_base64_image(image_to_base64(encoded()), max_pixels=5)


def test_bytes_become_plain_base64():
    assert image_to_base64(b"\x00\xff") == "AP8="
