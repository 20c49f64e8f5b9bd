"""The page's words in the language that is set, and the template for a new one."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from webui.app import App
from webui.core.localizations import Words, choose, find_localizations, own_texts, read_words

PATH = "/internal/localization"


class Localization:
    """The handlers of /internal/localization, which the page asks when it opens, and of the template."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under their paths."""
        server.add_api_route(PATH, self.words, methods=["GET"], tags=["state"], response_model=dict[str, Any])
        server.add_api_route(f"{PATH}-template", self.template, methods=["GET"], tags=["state"], response_model=dict[str, str])

    def words(self, request: Request) -> Response:
        """The words of the language that the setting names, or for Auto of the browser's own.  No name comes from the address."""
        words = self._words(request)
        content = {
            "language": words.name, "tag": words.tag, "rtl": words.rtl, "words": dict(words.texts or {}), "problems": list(words.problems),
        }  # fmt: skip
        return JSONResponse(content, headers={"Cache-Control": "no-cache", "Vary": "Accept-Language"})

    def template(self, request: Request) -> Response:
        """Every text of the page with its words in the language that is set, or none: a file to translate and put into localizations/."""
        texts = self._words(request).texts or {}
        content = json.dumps({text: texts.get(text, "") for text in own_texts()}, ensure_ascii=False, indent=1)
        headers = {"Content-Disposition": 'attachment; filename="localization.json"', "Vary": "Accept-Language"}
        return Response(content, media_type="application/json", headers=headers)

    def _words(self, request: Request) -> Words:
        found = find_localizations(self._app.paths, self._app.host.assets())
        name = choose(self._app.settings.snapshot().localization, found, request.headers.get("accept-language", ""))
        return read_words(name, found.get(name, ()))
