"""Drawing a picture again from what it says of itself, and judging how near the new one comes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from webui.core.errors import NotFound
from webui.core.images import decode_image
from webui.core.metadata import PictureMetadata, read
from webui.core.record import Record
from webui.core.result import Picture
from webui.core.verdict import Verdict, facts_of, judge

KEPT = 16


@dataclass(frozen=True)
class Claim:
    """A picture as it came, until it is judged."""

    image: Image.Image
    metadata: PictureMetadata


class Verifications:
    """The pictures that are being drawn again, by job; the oldest are forgotten. Safe to call from any thread."""

    def __init__(self) -> None:
        self._claims: OrderedDict[str, Claim] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job_id: str, claim: Claim) -> None:
        """Keep what a job's picture is to be compared with."""
        with self._lock:
            self._claims[job_id] = claim
            while len(self._claims) > KEPT:
                self._claims.popitem(last=False)

    def verdict(self, job_id: str, picture: Picture) -> Verdict:
        """Compare.  Raises NotFound when the job was not a verification, or is too long ago."""
        with self._lock:
            claim = self._claims.get(job_id)
        if claim is None:
            raise NotFound(f"Job {job_id!r} verifies no picture (any more).")
        data = picture.path.read_bytes()
        then, now = claim.metadata, read(data)
        return judge(claim.image, _facts(then), decode_image(data), _facts(now, picture.infotext))


def _facts(metadata: PictureMetadata, infotext: str = "") -> dict[str, str]:
    record: Record | None = metadata.record
    return facts_of(metadata.infotext or infotext, record.device if record else "")
