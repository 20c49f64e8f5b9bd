"""What a picture file says of how it was made, whoever made it: the one entry for dropping, pasting and verifying pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from webui.core.embedded_texts import COMMENT_KEY, read_texts
from webui.core.foreign_metadata import OWN_PROGRAM, program_of, translate
from webui.core.images import INFOTEXT_KEY, RECORD_KEY
from webui.core.infotext import read_infotext
from webui.core.record import ReadRecord, Record, read_record


@dataclass(frozen=True)
class PictureMetadata:
    """What a picture file says.

    program: who made it ("webui" is this one, "A1111", "Forge", "SD.Next", "ComfyUI", "InvokeAI", "NovelAI", "Fooocus"), "" if unknown.
    infotext: in A1111's form, translated where the program has another.   record: ours, only while it agrees with the infotext.
    items: the file's other texts by key, as they are.   remarks: what the user should know of them.
    """

    program: str = ""
    infotext: str = ""
    record: Record | None = None
    items: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read(data: bytes) -> PictureMetadata:
    """Read a picture file's texts, without its pixels.

    Raises InvalidRequest for what is no picture of a known kind, and for more text than is read. Damage loses only what is damaged.
    """
    texts = read_texts(data)
    record_text = texts.pop(RECORD_KEY, "")
    found = read_record(record_text) if record_text else ReadRecord()
    written = texts.get(INFOTEXT_KEY) or texts.get(COMMENT_KEY, "")
    items = {key: text for key, text in texts.items() if key != INFOTEXT_KEY}
    foreign = None if found.record else translate(texts)
    program = program_of(read_infotext(written))
    if foreign and (not program or written.lstrip().startswith("{")):
        return PictureMetadata(foreign.program, foreign.infotext, None, items, (*found.remarks, *foreign.remarks))
    record = found.record
    if record and written and not record.describes(written):
        remark = "The text in the picture was edited after it was made: the text is used, not the record beside it."
        return PictureMetadata(program, written, None, items, (*found.remarks, remark))
    return PictureMetadata(OWN_PROGRAM if record else program, written, record, items, found.remarks)
