"""The examples of docs/api.md are executed; A1111's own examples for curl too."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.api.wire import serving
from tests.fake_engine import picture_of
from webui.app import App
from webui.core.parameters import parameters_of
from webui.core.paths import PROGRAM
from webui.core.settings import Settings

PAGE = (PROGRAM / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


def test_there_is_an_example_for_each_tongue() -> None:
    assert list(EXAMPLES) == ["sdapi", "openai", "jobs"]


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_an_example_draws_the_picture_of_its_seed(app: App, name: str) -> None:
    with serving(app) as url:
        names: dict[str, object] = {"url": url}
        exec(EXAMPLES[name], names)  # our own page
    picture = names["picture"]
    assert isinstance(picture, bytes)
    assert Image.open(io.BytesIO(picture)).getpixel((5, 5)) == picture_of(7, 1, 1).getpixel((0, 0))


def test_every_limit_is_on_the_page() -> None:
    limits = [name for name, declared in parameters_of(Settings).items() if declared.section == "Limits"]
    assert [name for name in limits if name != "api_useragent" and f"`{name}`" not in PAGE] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a1111s_examples_for_curl_work(app: App, tmp_path: Path) -> None:
    """The calls of A1111's wiki page on its API, in curl's words."""
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps({"prompt": "maltese puppy", "steps": 5}))

    def curl(*arguments: str) -> dict[str, object]:
        done = subprocess.run(["curl", "-sS", "--fail-with-body", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    json_type = ("-H", "Content-Type: application/json")
    with serving(app) as url:
        answer = curl("-X", "POST", f"{url}/sdapi/v1/txt2img", *json_type, "-d", f"@{payload}")
        image = answer["images"][0]  # type: ignore[index]
        payload.write_text(json.dumps({"image": "data:image/png;base64," + image}))
        told = curl("-X", "POST", f"{url}/sdapi/v1/png-info", *json_type, "-d", f"@{payload}")
        assert str(told["info"]).startswith("maltese puppy\nSteps: 5")
        assert curl("-X", "POST", f"{url}/sdapi/v1/options", *json_type, "-d", '{"CLIP_stop_at_last_layers": 2}') is None
        assert curl(f"{url}/sdapi/v1/options")["CLIP_stop_at_last_layers"] == 2
