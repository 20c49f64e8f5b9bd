"""Who may come in: passwords, sessions and the limit on wrong guesses. Knows nothing of paths or HTTP answers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path

from webui.core.files import write_atomically

Users = Sequence[tuple[str, str]]

KEY_BYTES = 32


def is_user(users: Users, name: str, password: str) -> bool:
    """Whether name and password belong together. Takes the same time for every wrong answer."""
    found = False
    for known_name, known_password in users:
        same_name = hmac.compare_digest(_digest(name), _digest(known_name))
        same_password = hmac.compare_digest(_digest(password), _digest(known_password))
        found |= same_name and same_password
    return found


def read_basic(header: str | None) -> tuple[str, str] | None:
    """Name and password of an HTTP Basic Authorization header; None without a readable one."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def read_bearer(header: str | None) -> tuple[str, str] | None:
    """Name and password of an HTTP Bearer header whose token is `name:password`, as OpenAI's clients send their key; None without one."""
    scheme, _, token = (header or "").partition(" ")
    name, colon, password = token.strip().partition(":")
    return (name, password) if scheme.lower() == "bearer" and colon else None


def session_key(path: Path) -> bytes:
    """The key in that file, which only its owner can read; made at the first start, and anew if it is damaged."""
    try:
        key = path.read_bytes()
    except OSError:
        key = b""
    if len(key) != KEY_BYTES:
        key = secrets.token_bytes(KEY_BYTES)
        write_atomically(path, key)
    return key


def key_for_users(key: bytes, *users: Users) -> bytes:
    """A key that changes with the users and their passwords, so that a change of them ends all sessions."""
    return hmac.new(key, repr([list(group) for group in users]).encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


class Sessions:
    """Signed tokens for the browser's cookie. No session is stored: who has the key can tell the tokens made with it.

    key: kept from start to start, so that an open page goes on after a restart.
    """

    def __init__(self, key: bytes, *, seconds: int = 7 * 24 * 3600, now: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._now = now
        self._key = key

    def issue(self) -> str:
        """A token that is good for `seconds`."""
        expires = str(int(self._now()) + self.seconds)
        return f"{expires}.{self._sign(expires)}"

    def holds(self, token: str | None) -> bool:
        """Whether the token was issued here and has not run out."""
        expires, _, signature = (token or "").partition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(expires).encode()):
            return False
        return int(expires) > self._now()

    def _sign(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class FailedLogins:
    """Counts wrong passwords by client, and by client and user, within a sliding window. Its memory is bounded."""

    def __init__(
        self,
        *,
        per_user: int = 5,
        per_client: int = 20,
        window: float = 60.0,
        capacity: int = 4096,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = {True: per_user, False: per_client}
        self._window = window
        self._capacity = capacity
        self._now = now
        self._failures: OrderedDict[tuple[str, str | None], deque[float]] = OrderedDict()

    def wait(self, client: str, user: str) -> int:
        """Seconds this client must wait before it may try that user again; 0 if it may now."""
        return max(self._wait((client, user)), self._wait((client, None)))

    def note(self, client: str, user: str) -> None:
        """Remember one wrong password."""
        for key in ((client, user), (client, None)):
            self._failures.setdefault(key, deque(maxlen=self._limits[key[1] is not None])).append(self._now())
            self._failures.move_to_end(key)
        while len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def _wait(self, key: tuple[str, str | None]) -> int:
        times = self._failures.get(key)
        if times is None or len(times) < self._limits[key[1] is not None]:
            return 0
        remaining = times[0] + self._window - self._now()
        return int(remaining) + 1 if remaining > 0 else 0


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
