"""Where extensions come from in tests: real git repositories, a real server of them, zip files, wheels in a folder that pip is given."""

from __future__ import annotations

import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from webui.core.web import Web

EXTENSION = """
from webui.plugins.hookspecs import hookimpl


@hookimpl
def change_request(request):
    return request.changed(prompt=request.prompt + " {word}")
"""
MANIFEST = 'name = "{name}"\nversion = "{version}"\ndescription = "Adds a word."\nhooks = ["change_request"]\n'


def extension_files(word: str = "cat", version: str = "1.0", name: str = "Adding", **more: str) -> dict[str, str]:
    """The files of an extension that adds a word to prompts.  more: others, with __ for the dot before the suffix."""
    return {
        "extension.py": EXTENSION.format(word=word),
        "extension.toml": MANIFEST.format(name=name, version=version),
        "javascript/page.js": "/* nothing */\n",
        **{file.replace("__", "."): text for file, text in more.items()},
    }


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def write_zip(file: Path, files: Mapping[str, str | bytes], *, folder: str = "") -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return file


def write_wheel(folder: Path, name: str, version: str, *, requires: Sequence[str] = (), files: Mapping[str, str] | None = None) -> Path:
    """A wheel of one module that knows its version, or of other files."""
    about = f"{name}-{version}.dist-info"
    whole = {
        **(files or {f"{name}.py": f"VERSION = {version!r}\n"}),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {one}\n" for one in requires),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    whole[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*whole, f"{about}/RECORD"))
    folder.mkdir(exist_ok=True)
    return write_zip(folder / f"{name}-{version}-py3-none-any.whl", whole)


@dataclass(frozen=True)
class Repository:
    """A git repository with a working tree."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """Run git there; what it said."""
        me = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always")
        done = subprocess.run(["git", *me, "-C", str(self.folder), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes]) -> str:
        """Add or change files; the commit."""
        write_files(self.folder, files)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", "A change")
        return self.git("rev-parse", "HEAD")


def make_repository(folder: Path, files: Mapping[str, str | bytes]) -> Repository:
    folder.mkdir(parents=True)
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=trunk")
    repository.commit(files)
    return repository


@dataclass
class GitServer:
    """Serves the repositories in a folder under http://git.example:PORT/NAME.  asked: every path, as it came."""

    root: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://git.example:{self.port}"

    @property
    def web(self) -> Web:
        """That may reach this server, and no other."""
        known = {"git.example": ["127.0.0.1"], "local.example": ["10.0.0.1"]}
        return Web(
            resolve=lambda host, _: known.get(host, []),
            allows=lambda one: one == "127.0.0.1",
            schemes=frozenset({"http", "https"}),
            ports=None,
        )


@contextmanager
def serving_git(root: Path) -> Iterator[GitServer]:
    """git's own server program behind a small HTTP server."""
    server = GitServer(root)
    program = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-http-backend")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                self.answer(self.read_chunks())
            else:
                self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def read_chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def answer(self, body: bytes) -> None:
            server.asked.append(self.path)
            path, _, query = self.path.partition("?")
            env = {
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": self.command,
                "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)), "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "GIT_CONFIG_NOSYSTEM": "1",
            }  # fmt: skip
            head, _, content = subprocess.run([str(program)], input=body, env=env, capture_output=True, check=False).stdout.partition(
                b"\r\n\r\n"
            )
            headers = [line.partition(b": ")[::2] for line in head.split(b"\r\n") if line]
            status = next((int(value.split()[0]) for name, value in headers if name == b"Status"), 200)
            self.send_response(status)
            for name, value in headers:
                if name != b"Status":
                    self.send_header(name.decode(), value.decode())
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join(20)
        listener.server_close()
