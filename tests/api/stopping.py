"""The program with --api-server-stop on a free port, which is printed first."""

from __future__ import annotations

import socket
import sys

from webui.cli import main

if __name__ == "__main__":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    print(port, flush=True)
    raise SystemExit(main(["--nowebui", "--api-server-stop", "--cpu", "--port", str(port), "--data-dir", sys.argv[1]]))
