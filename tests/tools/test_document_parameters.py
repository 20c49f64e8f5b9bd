"""docs/parameters.md says what the declarations say."""

from __future__ import annotations

from tools.document_parameters import PAGE, page
from webui.core.parameters import parameters_of
from webui.core.request import GenerationRequest
from webui.core.settings import Settings


def test_the_page_is_what_the_declarations_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.document_parameters"


def test_every_parameter_and_setting_has_a_row() -> None:
    text = page()
    for declared in (*parameters_of(GenerationRequest).values(), *parameters_of(Settings).values()):
        assert f"| `{declared.api}` | {declared.title} |" in text
        assert declared.help
