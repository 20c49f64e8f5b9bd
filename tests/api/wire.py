"""A server behind a real socket, for the tests of what only shows on the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from webui.api.server import build_server
from webui.app import App


@contextmanager
def serving(app: App, **options: Any) -> Iterator[str]:
    """The address of a server of this App, for as long as the block lasts."""
    server = uvicorn.Server(
        uvicorn.Config(
            build_server(app, **{"api": True, **options}), host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=2
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
