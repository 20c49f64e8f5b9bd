import io
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from webui.core.embedded_texts import read_texts
from webui.core.errors import InvalidRequest
from webui.core.exif import write_exif
from webui.core.images import MAX_TEXT, encode_picture, encode_png

RED = Image.new("RGB", (16, 16), (200, 10, 10))
TEXT = "a cat, 猫\nNegative prompt: x\nSteps: 20, Seed: 1, Size: 8x8"
SUFFIXES = ("png", "jpg", "webp", "avif")


def saved(kind, image=RED, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def fields(**tags):
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[int(tag.removeprefix("x"), 16)] = value
    return exif.tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_pixel_is_decoded(suffix, monkeypatch):
    data = encode_picture(RED, suffix, infotext=TEXT).data
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("pixels were decoded"))
    assert read_texts(data) == {"parameters": TEXT}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_exif_of_other_writers_is_read(kind):
    assert read_texts(saved(kind, exif=write_exif(TEXT))) == {"parameters": TEXT}


def test_exif_comes_before_a_pngs_own_text():
    data = encode_png(RED, {"parameters": "of the chunk", "extras": "kept"})
    both = data[:33] + chunk(b"eXIf", write_exif("of EXIF").removeprefix(b"Exif\0\0")) + data[33:]
    assert read_texts(both) == {"parameters": "of EXIF", "extras": "kept"}


@pytest.mark.parametrize("comment", ["plain Steps: 1", "猫" * 400, "x" * 1000])
def test_a_gifs_comment_is_read(comment):
    assert read_texts(saved("GIF", comment=comment)) == {"comment": comment}


def test_an_animations_comment_is_read():
    assert read_texts(saved("GIF", save_all=True, append_images=[Image.new("RGB", (16, 16))] * 3, comment="c")) == {"comment": "c"}


def test_a_jpegs_comment_is_read():
    assert read_texts(saved("JPEG", comment="c")) == {"comment": "c"}


def test_exif_cut_over_several_segments_of_a_jpeg_is_joined():
    block, plain = write_exif("x" * 60_000), saved("JPEG")
    parts = [b"Exif\0\0" + part for part in (block[6:60_006], block[60_006:])]
    data = plain[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts) + plain[2:]
    assert read_texts(data) == {"parameters": "x" * 60_000}


def test_filling_bytes_between_segments_are_passed_over():
    plain = saved("JPEG", comment="c")
    assert read_texts(plain[:2] + b"\xff\xff" + plain[2:]) == {"comment": "c"}


def test_comfyuis_webp_fields_are_read():
    block = fields(x010f='workflow:{"nodes": []}', x0110='prompt:{"1": {}}', x0131="made by")
    assert read_texts(saved("WEBP", exif=block)) == {"workflow": '{"nodes": []}', "prompt": '{"1": {}}', "Software": "made by"}


def test_a_cameras_fields_are_left_alone():
    block = fields(x010f="Canon", x0110="EOS: R5", x927c="maker's own", x010e="a photo")
    assert read_texts(saved("JPEG", exif=block)) == {"Description": "a photo"}


def test_fooocus_scheme_is_told():
    assert read_texts(saved("WEBP", exif=fields(x927c="fooocus", x9286='{"a": 1}'))) == {
        "fooocus_scheme": "fooocus",
        "parameters": '{"a": 1}',
    }


@pytest.mark.parametrize("data", [b"", b"hello", saved("BMP"), saved("TIFF"), b"RIFF\0\0\0\0WAVEfmt ", b"%PDF-1.7"])
def test_what_is_no_picture_of_these_is_refused(data):
    with pytest.raises(InvalidRequest, match="Send a PNG, JPEG, WebP, AVIF or GIF file"):
        read_texts(data)


SAMPLES = {suffix: encode_picture(RED, suffix, infotext=TEXT, record="{}").data for suffix in SUFFIXES}
SAMPLES["gif"] = saved("GIF", comment=TEXT)


@pytest.mark.parametrize("suffix", SAMPLES)
def test_of_a_file_cut_short_what_is_there_is_read_or_nothing(suffix):
    whole = read_texts(SAMPLES[suffix])
    for end in range(12, len(SAMPLES[suffix])):
        found = read_texts(SAMPLES[suffix][:end])
        assert set(found.values()) <= set(whole.values()) or suffix == "gif"


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(list(SAMPLES.values())), st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damage_is_read_or_refused(sample, damages):
    damaged = bytearray(sample)
    for place, value in damages:
        damaged[int(place * len(damaged))] = value
    try:
        texts = read_texts(bytes(damaged))
    except InvalidRequest:
        return
    assert all("".join(texts).encode() is not None and text.encode() is not None for text in texts.values())


HEADS = (b"\xff\xd8", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"\0\0\0\x20ftypavif", b"\x89PNG\r\n\x1a\n")


@settings(deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=200))
def test_any_bytes_after_a_signature_are_read_without_failing(head, tail):
    assert isinstance(read_texts(head + tail), dict)


def test_a_text_over_the_cap_is_refused():
    jpeg = saved("JPEG")
    comments = (b"\xff\xfe\xff\xff" + bytes(65533)) * (MAX_TEXT // 65533 + 1)
    with pytest.raises(InvalidRequest, match="bytes of text"):
        read_texts(jpeg[:2] + comments + jpeg[2:])
    with pytest.raises(InvalidRequest, match="bytes of text"):
        read_texts(b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", MAX_TEXT + 1) + bytes(MAX_TEXT + 1))


def test_a_gifs_comment_beyond_the_cap_is_not_looked_for():
    head, comment = b"GIF89a" + bytes(7), b"!\xfe\1c\0"
    long = b"!\xff" + (b"\xff" + bytes(255)) * (MAX_TEXT // 256 + 1) + b"\0"
    assert read_texts(head + comment + long) == {"comment": "c"}
    assert read_texts(head + long + comment) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000,
        b"\xff\xd8" + b"\xff" * 8_000_000,
        b"GIF89a" + bytes(7) + b"!\xfe\1x\0" * 1_000_000,
        b"GIF89a" + bytes(7) + b"!\xfe" + b"\1x" * 1_500_000,
        b"RIFF\0\0\0\0WEBP" + b"JUNK\0\0\0\0" * 1_000_000,
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0tEXt\0\0\0\0" * 1_000_000,
    ],
)
def test_a_file_of_tiny_parts_is_read_in_a_moment(data):
    started = time.process_time()
    read_texts(data)
    assert time.process_time() - started < 20
