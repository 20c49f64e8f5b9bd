"""gradio's own scripts and styles, from memory: opening the page asks for some seventy of them, and gradio packs each anew."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import gradio as gr

# gradio's build puts a hash of the content into such names, so what is called so never changes.
HASHED = re.compile(r"[\w.-]+-[\w-]{8}\d*\.\w+", re.ASCII)
TYPES: Mapping[str, str] = MappingProxyType({
    ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf",
})  # fmt: skip
LASTING = "private, max-age=31536000, immutable"


@dataclass
class FrontendFiles:
    """Answers for the files of one folder.  packed: what was asked for so far, as gzip; at most the folder's files."""

    folder: Path
    packed: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = frozenset(path.name for path in self.folder.iterdir() if path.suffix in TYPES and path.is_file())

    async def answer(self, request: gr.routes.fastapi.Request) -> gr.routes.fastapi.Response:
        """The file that the address names last; 404 for one that is not there."""
        name = request.path_params["name"]
        if name not in self.names:
            return gr.routes.fastapi.Response("Not found.", 404, media_type="text/plain")
        if name not in self.packed:
            self.packed[name] = gzip.compress((self.folder / name).read_bytes(), mtime=0)
        headers = {"Cache-Control": LASTING if HASHED.fullmatch(name) else "no-cache", "Vary": "Accept-Encoding"}
        content = self.packed[name]
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
        return gr.routes.fastapi.Response(content, headers=headers, media_type=TYPES[Path(name).suffix])
