"""The login page that stands before the browser's pages when --gradio-auth is given."""

from __future__ import annotations

import html
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

MAX_FORM_BYTES = 4096

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 100vh; margin: 0 }
form { display: grid; gap: .75rem; width: min(20rem, 90vw) }
h1 { font-size: 1.25rem; margin: 0 0 .25rem }
label { display: grid; gap: .25rem }
input, button { font: inherit; padding: .5rem .75rem; border: 1px solid #8888; border-radius: .5rem }
button { background: #0d9488; border-color: #0d9488; color: #fff; cursor: pointer }
p { margin: 0; min-height: 1.5em; color: #dc2626 }
</style></head><body>
<form method="post" action="{action}">
<h1>Log in</h1>
<label>User <input name="username" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button>
<p role="alert">{message}</p>
</form></body></html>"""


def login_page(root_path: str, message: str = "", *, status: int = 401) -> Response:
    """The form that asks for user and password."""
    text = _PAGE.replace("{action}", html.escape(f"{root_path}/login")).replace("{message}", html.escape(message))
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    return HTMLResponse(text, status, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


def welcome(root_path: str, *, page: bool) -> Response:
    """The answer to a right password: browsers go to the start page, and nowhere else; programs get JSON."""
    return RedirectResponse(f"{root_path}/", status_code=303) if page else JSONResponse({"success": True})


async def read_login(request: Request) -> tuple[str, str] | None:
    """User and password from a posted form; None when it is too long or lacks one of them."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return None
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=8)
    except ValueError:
        return None
    names, passwords = fields.get("username", []), fields.get("password", [])
    return (names[0], passwords[0]) if len(names) == len(passwords) == 1 else None
