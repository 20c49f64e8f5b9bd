"""The page's words over HTTP."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from webui.app import App

ADDRESS = "/internal/localization"


def words(client: TestClient, **headers: str) -> dict[str, object]:
    answer = client.get(ADDRESS, headers={"accept-language": "", **headers})
    assert answer.status_code == 200
    content: dict[str, object] = answer.json()
    return content


def test_a_browser_of_another_language_gets_its_words(client: TestClient) -> None:
    assert words(client)["language"] == ""
    chinese = words(client, **{"accept-language": "zh-CN"})
    assert (chinese["language"], chinese["tag"]) == ("zh_CN", "zh-CN")
    assert chinese["words"]["Generate"] == "生成"  # type: ignore[index]


@pytest.mark.parametrize("name", ["../config", "..\\config", "/etc/passwd", "zh_CN/../zh_CN", "None", "no such"])
def test_a_setting_that_names_no_localisation_leads_nowhere(app: App, client: TestClient, name: str) -> None:
    app.change_settings({"localization": name})
    assert words(client, **{"accept-language": "zh-CN"}) == {"language": "", "tag": "en", "rtl": False, "words": {}, "problems": []}


def test_a_file_of_ten_megabytes_is_told_and_not_sent(app: App, client: TestClient) -> None:
    app.paths.localizations.mkdir(parents=True)
    (app.paths.localizations / "huge.json").write_text(json.dumps({"Seed": "x" * 10_000_000}))
    app.change_settings({"localization": "huge"})
    answer = words(client)
    assert answer["words"] == {}
    assert "huge.json is left out" in str(answer["problems"])


def test_the_template_holds_what_is_translated_and_what_is_not(app: App, client: TestClient) -> None:
    app.paths.localizations.mkdir(parents=True)
    (app.paths.localizations / "de.json").write_text(json.dumps({"Generate": "Erzeugen"}))
    app.change_settings({"localization": "de"})
    answer = client.get(f"{ADDRESS}-template")
    assert "attachment" in answer.headers["content-disposition"]
    template = answer.json()
    assert template["Generate"] == "Erzeugen"
    assert template["Interrupt"] == ""
