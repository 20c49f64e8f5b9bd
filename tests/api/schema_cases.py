"""Everything that our OpenAPI file allows, asked of a server on an engine that draws flat pictures (schemathesis).

    venv/bin/python -m tests.api.schema_cases 5000

Prints how many cases were asked and what was wrong with the answers. The suite runs a few of the same cases.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.fake_engine import FakeEngine
from webui.api.server import build_server
from webui.app import App
from webui.core.paths import standard_paths

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
# These answer 501 on purpose; a stream of events ends only with its job.
LEFT_OUT = ("/train/", "/server-restart", "/events")
# Nothing of what is asked may take long: a job of a thousand steps is for other tests.
LIMIT = 50.0


class Cases:
    """Cases of all operations.  asked: how many.   wrong: what was wrong, once each."""

    def __init__(self, server: Any) -> None:
        self._schema = schemathesis.openapi.from_asgi("/openapi.json", server)
        self.asked = 0
        self.wrong: dict[str, str] = {}

    def operations(self) -> Iterator[Any]:
        """Those that can be asked."""
        for found in self._schema.get_all_operations():
            operation = found.ok()
            if not any(part in operation.path for part in LEFT_OUT):
                yield operation

    def ask(self, cases: int, *, seed: int = 1) -> None:
        """So many cases of each operation."""
        for operation in self.operations():
            self._ask(operation, cases, seed)

    def _ask(self, operation: Any, cases: int, seed: int) -> None:
        quiet = settings(max_examples=cases, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))

        @seeded(seed)
        @quiet
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            self.asked += 1
            try:
                case.call_and_validate(checks=CHECKS)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  all of them are to be seen
                said = str(error)
                self.wrong.setdefault(f"{operation.label}: {said[:160]}", said[:1500])

        ask()


def serve(folder: Path) -> tuple[App, Any]:
    """An App in that folder that draws nothing large, and its server."""
    app = App(standard_paths(folder), engine=FakeEngine(), hashing=False, command_line_settings={"max_job_cost": LIMIT})
    app.start()
    return app, build_server(app, api=True, stop=_nothing, allowed_hosts=["*"])


def _nothing() -> None:
    """In place of the program's end."""


def main() -> int:
    """Ask, and say what was wrong."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        app, server = serve(Path(folder))
        with closing(app):
            cases = Cases(server)
            operations = len(list(cases.operations()))
            seed = 0
            # Those without parameters have one case only, so it takes several rounds.
            while cases.asked < wanted:
                seed += 1
                cases.ask(100, seed=seed)
    print(f"{cases.asked} cases of {operations} operations; {len(cases.wrong)} wrong")
    for text in cases.wrong.values():
        print("-", text)
    return 1 if cases.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
