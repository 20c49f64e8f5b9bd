from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from webui.api.origin import ANY_ADDRESS, HostRule, OriginRule
from webui.core.errors import StartupError


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in pairs])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:1", "LOCALHOST:7860", "localhost.:7860", "[::1]:7860", "[::1]"])
def test_loopback_hosts_are_answered_on_any_port(host: str) -> None:
    assert HostRule().refusal(headers(("host", host))) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.1@evil.example",
        "",
        "127.0.0.2",
        "[::1",
        "localhost:7860:1",
        "local\nhost",
    ],
)
def test_foreign_and_malformed_hosts_are_refused(host: str) -> None:
    assert HostRule().refusal(headers(("host", host)))


def test_two_host_headers_are_refused_even_if_both_are_allowed() -> None:
    assert HostRule().refusal(headers(("host", "localhost"), ("host", "localhost")))


def test_allowed_names_are_added_and_keep_the_loopback() -> None:
    rule = HostRule(["Studio.lan", "fe80::1"])
    for host in ("studio.lan:80", "[fe80::1]:7860", "localhost"):
        assert rule.refusal(headers(("host", host))) is None
    assert rule.refusal(headers(("host", "other.lan")))


def test_any_address_lets_addresses_in_but_no_name() -> None:
    rule = HostRule([ANY_ADDRESS])
    assert rule.refusal(headers(("host", "192.168.1.7:7860"))) is None
    assert rule.refusal(headers(("host", "[2001:db8::1]:7860"))) is None
    assert rule.refusal(headers(("host", "evil.example:7860")))


def test_star_turns_the_host_check_off() -> None:
    assert HostRule(["*"]).refusal(headers(("host", "whatever.example"))) is None


def refused(*pairs: tuple[str, str], rule: OriginRule | None = None, changes_state: bool = True) -> bool:
    return (rule or OriginRule()).refusal(headers(("host", "127.0.0.1:7860"), *pairs), changes_state=changes_state) is not None


def test_programs_without_an_origin_pass() -> None:
    assert not refused()


def test_the_servers_own_pages_pass() -> None:
    assert not refused(("origin", "http://127.0.0.1:7860"), ("sec-fetch-site", "same-origin"))
    assert not refused(("origin", "https://127.0.0.1:7860"))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:3000",
        "http://127.0.0.1",
        "http://127.0.0.1:7860.evil.example",
        "file://127.0.0.1:7860",
        "",
        "127.0.0.1:7860",
    ],
)
def test_foreign_origins_are_refused_for_reading_and_changing(origin: str) -> None:
    assert refused(("origin", origin))
    assert refused(("origin", origin), changes_state=False)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_fetch_metadata_of_other_sites_are_refused_where_something_changes(site: str) -> None:
    assert refused(("sec-fetch-site", site))
    assert not refused(("sec-fetch-site", site), changes_state=False)


def test_allowed_origins_pass_exactly() -> None:
    rule = OriginRule(["https://art.example"], r"https://[a-z]+\.studio\.example")
    assert not refused(("origin", "https://art.example"), ("sec-fetch-site", "cross-site"), rule=rule)
    assert not refused(("origin", "https://me.studio.example"), rule=rule)
    for origin in (
        "http://art.example",
        "https://art.example:444",
        "https://art.example.evil.example",
        "https://me.studio.example.evil",
        "null",
    ):
        assert refused(("origin", origin), rule=rule)


def test_a_regex_that_matches_everything_does_not_let_null_in() -> None:
    assert refused(("origin", "null"), rule=OriginRule(regex=".*"))


@pytest.mark.parametrize(
    "origin", ["*", "null", "art.example", "https://art.example/", "https://art.example/page", "ftp://art.example", "https://"]
)
def test_anything_but_an_exact_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(StartupError, match="exact origins"):
        OriginRule([origin])
