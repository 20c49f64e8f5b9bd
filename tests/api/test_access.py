from __future__ import annotations

import base64
from pathlib import Path

import pytest

from webui.api.access import FailedLogins, Sessions, is_user, key_for_users, read_basic, session_key

KEY = b"k" * 32
USERS = (("anna", "geheim"), ("bob", "pass:with:colons"), ("zoë", "schlüssel"))


def test_the_key_outlives_a_restart_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.key"
    key = session_key(path)
    assert len(key) == 32
    assert session_key(path) == key
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"damaged")
    assert session_key(path) not in (key, b"damaged")


def test_a_changed_password_ends_all_sessions() -> None:
    token = Sessions(key_for_users(KEY, USERS, ())).issue()
    assert Sessions(key_for_users(KEY, USERS, ())).holds(token)
    for others in ((USERS[1:], ()), ((), USERS), ((("anna", "neu"), *USERS[1:]), ()), ((), ())):
        assert not Sessions(key_for_users(KEY, *others)).holds(token)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("text", ["anna:geheim", "bob:pass:with:colons", "zoë:schlüssel"])
def test_right_passwords_are_right(text: str) -> None:
    given = read_basic(basic(text))
    assert given
    assert is_user(USERS, *given)


@pytest.mark.parametrize(
    ("name", "password"), [("anna", "falsch"), ("bob", "geheim"), ("", ""), ("anna", ""), ("ANNA", "geheim"), ("anna\udc80", "geheim")]
)
def test_wrong_passwords_are_wrong(name: str, password: str) -> None:
    assert not is_user(USERS, name, password)


@pytest.mark.parametrize(
    "header", [None, "", "Basic", "Basic !!!", "Bearer abc", "Basic " + base64.b64encode(b"no colon").decode(), "Basic /////w=="]
)
def test_unreadable_headers_are_no_credentials(header: str | None) -> None:
    assert read_basic(header) is None


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_a_session_holds_until_it_runs_out() -> None:
    clock = Clock()
    sessions = Sessions(KEY, seconds=60, now=clock)
    token = sessions.issue()
    assert sessions.holds(token)
    clock.time += 60
    assert not sessions.holds(token)


def test_forged_sessions_do_not_hold() -> None:
    sessions = Sessions(KEY)
    expires, _, signature = sessions.issue().partition(".")
    for token in (
        None,
        "",
        ".",
        "x.y",
        f"{int(expires) + 1}.{signature}",
        f"{expires}.{signature[:-1]}",
        f"{expires}.ü",
        Sessions(bytes(32)).issue(),
    ):
        assert not sessions.holds(token)


def test_five_wrong_passwords_a_minute_are_the_limit_for_a_user() -> None:
    clock = Clock()
    failures = FailedLogins(now=clock)
    for _ in range(5):
        assert failures.wait("1.2.3.4", "anna") == 0
        failures.note("1.2.3.4", "anna")
    assert 0 < failures.wait("1.2.3.4", "anna") <= 61
    assert failures.wait("1.2.3.4", "bob") == 0
    assert failures.wait("5.6.7.8", "anna") == 0
    clock.time += 60
    assert failures.wait("1.2.3.4", "anna") == 0


def test_a_client_that_tries_many_names_is_limited_too() -> None:
    failures = FailedLogins(now=Clock())
    for number in range(20):
        failures.note("1.2.3.4", f"user {number}")
    assert failures.wait("1.2.3.4", "a new name") > 0


def test_the_memory_of_failures_is_bounded() -> None:
    failures = FailedLogins(capacity=10, now=Clock())
    for number in range(1000):
        failures.note(f"client {number}", "anna")
    assert len(failures._failures) <= 10
