from typing import Any

import pytest

from webui.core.interrogation import Tag, write_tags
from webui.core.setting_parts.interrogation import InterrogationSettings
from webui.core.settings import Settings

TAGS = (
    Tag("smile", 0.7), Tag("red_hair", 0.9), Tag("grin_(face)", 0.6), Tag("^_^", 0.55), Tag("sky", 0.4),
    Tag("miku", 0.8, "character"), Tag("rem_(re:zero)", 0.9, "character"), Tag("safe", 1.0, "rating"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "written"),
    [
        ({}, r"^_^, grin \(face\), red hair, rem \(re:zero\), smile"),
        ({"deepbooru_sort_alpha": False}, r"red hair, rem \(re:zero\), smile, grin \(face\), ^_^"),
        ({"deepbooru_use_spaces": False, "deepbooru_escape": False}, "^_^, grin_(face), red_hair, rem_(re:zero), smile"),
        ({"interrogate_deepbooru_score_threshold": 0.65}, r"red hair, rem \(re:zero\), smile"),
        ({"interrogate_deepbooru_score_threshold": 0.95}, ""),
        ({"deepbooru_filter_tags": "red hair, smile ,^_^", "interrogate_deepbooru_score_threshold": 0.65}, r"rem \(re:zero\)"),
        ({"interrogate_return_ranks": True, "interrogate_deepbooru_score_threshold": 0.9}, r"(red hair:0.900), (rem \(re:zero\):0.900)"),
    ],
)
def test_tags_are_written_as_the_settings_say(settings: dict[str, Any], written: str) -> None:
    assert write_tags(TAGS, InterrogationSettings(**settings)) == written


def test_the_settings_have_a1111s_names_and_defaults() -> None:
    settings = Settings()
    assert (settings.interrogate_clip_min_length, settings.interrogate_clip_max_length, settings.interrogate_clip_num_beams) == (24, 48, 1)
    assert settings.interrogate_deepbooru_score_threshold == 0.5
    assert settings.changed({"deepbooru_filter_tags": "a"}).deepbooru_filter_tags == "a"
