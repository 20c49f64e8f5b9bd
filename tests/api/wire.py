"""A server behind a real socket, for the tests of what only shows on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.listening import listening
from webui.api.server import build_server
from webui.app import App


@contextmanager
def serving(app: App, **options: Any) -> Iterator[str]:
    """The address of a server of this App, for as long as the block lasts."""
    with listening(build_server(app, **{"api": True, **options})) as port:
        yield f"http://127.0.0.1:{port}"
