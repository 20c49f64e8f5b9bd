"""What may be reached on the web: nothing of our own network, however it is written."""

from __future__ import annotations

import pytest

from tests.jobs.file_server import serving
from webui.core.errors import InvalidRequest
from webui.core.web import MAX_HOPS, Line, Web, get, is_public, resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
    ],
)
def test_addresses_of_our_own_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["0177.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost", "[::1]"])
def test_an_address_in_disguise_is_judged_by_what_it_means(host: str) -> None:
    try:
        resolve(host.strip("[]"), 443)
    except OSError:
        pytest.skip("this system does not read it as an address")
    with pytest.raises(InvalidRequest, match="own network"):
        get(f"https://{host}/x", {}, Web(), Line())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/x", "begin with https"),
        ("file:///etc/passwd", "begin with https"),
        ("ftp://example.com/x", "begin with https"),
        ("https://user:word@example.com/x", "a user in it"),
        ("https://example.com@127.0.0.1/", "a user in it"),
        ("https:///x", "no plain host"),
        ("https://127.0.0%2e1/", "no plain host"),
        ("https://example.com:22/x", "port 22"),
        ("https://example.com:99999/x", "cannot be read"),
        ("https://example.com/a b", "spaces"),
        ("https://example.com/\r\nHost: x", "spaces"),
        ("https://exämple.com/", "spaces"),
        ("https://example.com\\@127.0.0.1/", "spaces"),
        ("https://example.com/" + "a" * 5000, "too long"),
    ],
)
def test_addresses_that_are_not_asked(url: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        Web().check(url)
    assert "word@" not in str(refused.value)


def test_a_host_with_one_private_address_among_public_ones_is_refused_before_anything_is_connected() -> None:
    web = Web(lambda _host, _port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(InvalidRequest, match=r"rebind\.example is on this machine's own network"):
        get("https://rebind.example/x", {}, web, Line())


def test_the_peer_is_judged_again_after_connecting() -> None:
    """As if the address had become another between the check and the connection."""
    with serving(b"secret") as served:
        answers = iter([True, False])
        web = Web(lambda _host, _port: ["127.0.0.1"], lambda _: next(answers), frozenset({"http"}), None)
        with pytest.raises(InvalidRequest, match="own network"):
            get(served.address + "/x", {}, web, Line())
        assert served.asked == []


def test_a_name_is_resolved_once_and_that_address_is_connected_to() -> None:
    with serving(b"model") as served:
        resolved = []

        def resolve_once(host: str, port: int) -> list[str]:
            resolved.append((host, port))
            return ["127.0.0.1"]

        web = Web(resolve_once, lambda _: True, frozenset({"http"}), None)
        connection, response = get(served.address + "/x?y=1", {"X-Test": "1"}, web, Line())
        assert (response.read(), len(resolved), served.asked) == (b"model", 1, [("/x?y=1", None)])
        assert served.seen[0]["Host"].startswith("models.example:")
        connection.close()


def test_each_redirect_is_judged_anew() -> None:
    with serving(b"") as served:
        served.redirects = {"/1": "/2", "/2": "http://inside.example:1/", "/3": "file:///etc/passwd", "/4": "/4"}

        def resolve_both(host: str, _port: int) -> list[str]:
            return ["10.0.0.1"] if host == "inside.example" else ["127.0.0.1"]

        web = Web(resolve_both, lambda address: address == "127.0.0.1", frozenset({"http"}), None)
        for path, words in (
            ("/1", r"inside\.example is on this machine's own"),
            ("/3", "'file'"),
            ("/4", f"more than {MAX_HOPS - 1} times"),
        ):
            with pytest.raises(InvalidRequest, match=words):
                get(served.address + path, {}, web, Line())


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(b"model") as served:
        connection, response = get(served.address + "/x", {}, served.web, Line())
        assert response.read() == b"model"
        connection.close()


def test_a_line_that_was_cut_before_it_was_connected_stays_cut() -> None:
    with serving(b"model") as served:
        line = Line()
        line.cut()
        with pytest.raises(ConnectionAbortedError):
            get(served.address + "/x", {}, served.web, line)


def test_a_certificate_is_asked_for() -> None:
    """A server that speaks no TLS is not spoken to when the address says https."""
    with serving(b"model") as served:
        web = Web(lambda _host, _port: ["127.0.0.1"], lambda _: True, frozenset({"https"}), None)
        with pytest.raises(OSError, match="SSL"):
            get(served.address.replace("http:", "https:") + "/x", {}, web, Line())
        assert served.asked == []
