from __future__ import annotations

import difflib
import json

from tools.document_api import FILE, schema


def test_the_openapi_file_is_what_the_server_says_of_itself() -> None:
    stored, now = FILE.read_text(encoding="utf-8").splitlines(), schema().splitlines()
    changes = list(difflib.unified_diff(stored, now, "docs/openapi.json", "the server", lineterm="", n=2))
    assert not changes, "Run `python -m tools.document_api`.\n" + "\n".join(changes[:80])


def test_every_route_says_what_it_does_and_has_a_name_of_its_own() -> None:
    paths = json.loads(schema())["paths"]
    operations = [(path, method, one) for path, methods in paths.items() for method, one in methods.items()]
    assert all(one.get("description") for _, _, one in operations), [path for path, _, one in operations if not one.get("description")]
    names = [one["operationId"] for _, _, one in operations]
    assert len(names) == len(set(names))
