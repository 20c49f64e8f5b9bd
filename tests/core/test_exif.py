import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webui.core.exif import MAKER_NOTE, PREFIX, SOFTWARE, USER_COMMENT, decode_comment, decode_text, read_exif, write_exif

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


@settings(deadline=None)
@given(texts, st.binary(max_size=50))
def test_what_is_written_is_read_whatever_it_is(text, note):
    fields = read_exif(write_exif(f"{text}\nSteps: 1", note))
    assert decode_comment(fields[USER_COMMENT]) == f"{text}\nSteps: 1"
    assert fields.get(MAKER_NOTE, b"") == note


def test_other_readers_find_the_same():
    exif = Image.Exif()
    exif.load(write_exif("a 猫", b"note"))
    assert exif.get_ifd(0x8769) == {USER_COMMENT: b"UNICODE\0" + "a 猫".encode("utf-16-be"), MAKER_NOTE: b"note"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_of_other_writers_are_read_in_both_byte_orders(order):
    exif = Image.Exif()
    exif.endian = order
    exif[SOFTWARE] = "Fooocus v2.5"
    exif[USER_COMMENT] = "in the first folder"
    exif[MAKER_NOTE] = "fooocus"
    fields = read_exif(exif.tobytes())
    assert {tag: decode_text(value) for tag, value in fields.items()} == {
        SOFTWARE: "Fooocus v2.5", USER_COMMENT: "in the first folder", MAKER_NOTE: "fooocus",
    }  # fmt: skip


# What in the other byte order reads "Steps: ".
BACKWARDS = "Steps: ".encode("utf-16-le").decode("utf-16-be")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"UNICODE\0" + "a 猫".encode("utf-16-be"), "a 猫"),
        (b"UNICODE\0" + "a 猫\nSteps: 1".encode("utf-16-le"), "a 猫\nSteps: 1"),
        (b"UNICODE\0" + "\ufeffSteps: 1".encode("utf-16-le"), "Steps: 1"),
        (b"UNICODE\0" + "\ufeff一一一\nSteps: 1".encode("utf-16-be"), "\ufeff一一一\nSteps: 1"),
        (b"UNICODE\0" + f"Steps: 1{BACKWARDS}".encode("utf-16-be"), f"Steps: 1{BACKWARDS}"),
        (b"UNICODE\0" + '{"a": 1}'.encode("utf-16-le"), '{"a": 1}'),
        (b"UNICODE\0\0", "\ufffd"),
        (b"ASCII\0\0\0Steps: 1\0", "Steps: 1"),
        (b"ASCII\0\0\0\xc3\xa9", "é"),
        (b"JIS\0\0\0\0\0\x83l", "ネ"),
        (b"\0\0\0\0\0\0\0\0plain", "plain"),
        ("bare 猫".encode(), "bare 猫"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_a_comment_is_read_by_its_code(value, text):
    assert decode_comment(value) == text


@pytest.mark.parametrize(
    "block", [b"", PREFIX, b"MM", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0", b"XX\0*\0\0\0\x08\0\1", b"MM\0*\0\0\0\x04\0\1"]
)
def test_a_damaged_block_has_no_fields(block):
    assert read_exif(block) == {}


def folder(*entries):
    return struct.pack(">2sHIH", b"MM", 42, 8, len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)


def test_a_value_beyond_the_end_is_left_out():
    assert read_exif(folder((SOFTWARE, 2, 2**32 - 1, 0), (USER_COMMENT, 7, 8, 2**32 - 1))) == {}


def test_a_folder_that_leads_to_itself_is_read_once():
    assert read_exif(folder((0x8769, 4, 1, 8), (0x8769, 4, 1, 8), (SOFTWARE, 2, 4, 0x61626300))) == {SOFTWARE: b"abc\0"}


def test_many_entries_of_one_tag_make_one_copy():
    content = b"x" * 5_000_000
    block = folder(*[(USER_COMMENT, 7, len(content), 10)] * 65_000) + content
    started = time.process_time()
    assert len(read_exif(block)) == 1
    assert time.process_time() - started < 10


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0", b""]))
def test_any_bytes_are_read_without_failing(tail, head):
    for value in read_exif(head + tail).values():
        decode_comment(value)
        decode_text(value)
