"""JSON from outside, read strictly: no NaN, no numbers too big to write back, no deep nesting, no broken text."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

MAX_DEPTH = 64
THREAD_BYTES = 256 * 1024


class StrictJsonRoute(APIRoute):
    """A route whose body is read by `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, given requests that read JSON strictly."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        # A big body is parsed beside the event loop, so that other clients are served meanwhile.
        return await asyncio.to_thread(parse_json, body) if len(body) > THREAD_BYTES else parse_json(body)


def parse_json(body: bytes) -> Any:
    """The value.  Raises json.JSONDecodeError for a syntax error, HTTPException 400 for what is JSON but not accepted."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant, parse_float=_finite_float)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise HTTPException(400, f"The JSON body is nested deeper than {MAX_DEPTH} levels.") from None
    except UnicodeDecodeError:
        raise HTTPException(400, "The JSON body is not UTF-8 text.") from None
    except ValueError as error:
        raise HTTPException(400, f"The JSON body has a number that is too long: {error}.") from None
    return _clean(value, MAX_DEPTH)


def _clean(value: Any, depth: int) -> Any:
    """The same value with unpaired surrogates, which no file or answer could hold, replaced by "?"."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise HTTPException(400, f"The JSON body is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, list):
        return [_clean(item, depth - 1) for item in value]
    return {_clean(key, depth - 1): _clean(item, depth - 1) for key, item in value.items()}


def _refuse_constant(name: str) -> NoReturn:
    raise HTTPException(400, f"The JSON body has the number {name}; give a finite number.")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise HTTPException(400, f"The JSON body has the number {text[:40]}; give a finite number.")
    return number
