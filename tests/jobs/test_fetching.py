"""Fetching a large file over connections that break."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.file_server import Served, serving
from webui.core.errors import InvalidRequest, ModelError, NotFound, WebuiError
from webui.core.web import Line
from webui.jobs.fetching import TRIES, CutOff, Parts, Received, fetch

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path / ".x.part.safetensors", tmp_path / ".x.part.json")


def fetched(served: Served, parts: Parts, *, path: str = "/m", limit: int = 10**9, line: Line | None = None) -> list[Received]:
    return list(fetch(served.address + path, parts, limit=limit, web=served.web, line=line or Line()))


def test_a_file_is_fetched_whole_and_its_progress_told(served: Served, parts: Parts) -> None:
    told = fetched(served, parts)
    assert parts.file.read_bytes() == CONTENT
    assert told[-1] == Received(len(CONTENT), len(CONTENT))
    assert served.seen[0]["User-Agent"].startswith("webui/")
    assert served.seen[0]["Accept-Encoding"] == "identity"


def test_a_broken_connection_is_gone_on_from_where_it_broke(served: Served, parts: Parts) -> None:
    served.breaks = [300_000, 200_000]
    fetched(served, parts)
    assert parts.file.read_bytes() == CONTENT
    assert [asked for _, asked in served.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert served.seen[1]["If-Range"] == '"one"'


def test_a_later_job_goes_on_from_what_an_earlier_one_left(served: Served, parts: Parts) -> None:
    served.breaks = [400_000] + [0] * TRIES
    with pytest.raises(ModelError, match="What has come is kept"):
        fetched(served, parts)
    served.breaks = []
    fetched(served, parts)
    assert served.asked[-1] == ("/m", "bytes=400000-")
    assert parts.file.read_bytes() == CONTENT


def test_a_file_that_has_changed_on_the_server_is_fetched_anew(served: Served, parts: Parts) -> None:
    served.breaks = [400_000] + [0] * TRIES
    with pytest.raises(ModelError):
        fetched(served, parts)
    served.breaks, served.tag, served.content = [], '"two"', CONTENT[::-1]
    fetched(served, parts)
    assert parts.file.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    ("tag", "modified", "resumes"), [('W/"weak"', "", False), ("", "Fri, 01 Mar 2024 00:00:00 GMT", True), ("", "", False)]
)
def test_only_a_version_that_is_sure_is_gone_on_with(served: Served, parts: Parts, tag: str, modified: str, resumes: bool) -> None:
    served.tag, served.modified, served.breaks = tag, modified, [300_000]
    fetched(served, parts)
    assert parts.file.read_bytes() == CONTENT
    assert served.asked[1][1] == ("bytes=300000-" if resumes else None)


def test_a_server_that_knows_no_ranges_sends_all_again(served: Served, parts: Parts) -> None:
    served.knows_ranges, served.breaks = False, [300_000]
    fetched(served, parts)
    assert parts.file.read_bytes() == CONTENT


def test_what_had_come_whole_is_not_fetched_again(served: Served, parts: Parts) -> None:
    fetched(served, parts)
    assert fetched(served, parts) == [Received(len(CONTENT), len(CONTENT))]
    assert parts.file.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_with(served: Served, parts: Parts) -> None:
    served.breaks = [300_000] + [0] * TRIES
    with pytest.raises(ModelError):
        fetched(served, parts)
    served.breaks = []
    fetched(served, parts, path="/other")
    assert served.asked[-1] == ("/other", None)
    assert parts.file.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(served: Served, parts: Parts) -> None:
    served.statuses = [503, 429]
    fetched(served, parts)
    assert parts.file.read_bytes() == CONTENT


def test_a_file_of_unknown_length_is_fetched(served: Served, parts: Parts) -> None:
    served.says_length = False
    assert fetched(served, parts)[-1] == Received(len(CONTENT), None)
    assert parts.file.read_bytes() == CONTENT


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_above_the_limit_is_refused(served: Served, parts: Parts, says_length: bool) -> None:
    served.says_length = says_length
    with pytest.raises(InvalidRequest, match="model_download_limit_gb"):
        fetched(served, parts, limit=500_000)
    assert not parts.file.exists() or parts.file.stat().st_size <= 500_000


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (404, NotFound, "no such file"),
        (401, InvalidRequest, "logged in"),
        (403, InvalidRequest, "logged in"),
        (418, ModelError, "answers 418"),
    ],
)
def test_refusals_are_told_and_not_tried_again(served: Served, parts: Parts, status: int, kind: type[WebuiError], words: str) -> None:
    served.statuses = [status]
    with pytest.raises(kind, match=words):
        fetched(served, parts)
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (("Content-Type", "text/html; charset=utf-8"), "a web page"),
        (("Content-Encoding", "gzip"), "compressed"),
    ],
)
def test_what_is_no_plain_file_is_refused(served: Served, parts: Parts, header: tuple[str, str], words: str) -> None:
    served.headers = dict([header])
    with pytest.raises(ModelError, match=words):
        fetched(served, parts)


def test_a_download_that_hangs_is_ended_at_once(served: Served, parts: Parts) -> None:
    served.waits_after = 1000
    line = Line()
    events = fetch(served.address + "/m", parts, limit=10**9, web=served.web, line=line)
    assert next(events).bytes == 1000
    threading.Timer(0.1, line.cut).start()
    with pytest.raises(CutOff):
        list(events)
    assert parts.file.stat().st_size == 1000
    assert len(served.asked) == 1
