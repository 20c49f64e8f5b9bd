"""A server behind a real socket of this machine, as the program itself sets one up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from webui.flags import Flags


@contextmanager
def listening(server: FastAPI) -> Iterator[int]:
    """The port it answers on, for as long as the block lasts.

    Idle connections are kept as long as the program keeps them. uvicorn's own 5 s is just what httpx keeps them for,
    and then a request now and then meets the connection's end: ReadError.
    """
    config = uvicorn.Config(
        server,
        host="127.0.0.1",
        port=0,
        log_level="error",
        timeout_keep_alive=Flags().timeout_keep_alive,
        timeout_graceful_shutdown=1,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive(), "The server did not start."
        time.sleep(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
