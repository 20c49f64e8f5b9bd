from pathlib import Path

import pytest

from webui.core.errors import InvalidRequest, NotFound
from webui.core.presets import MAX_CHARACTERS, PresetStore


@pytest.fixture
def store(tmp_path: Path) -> PresetStore:
    return PresetStore(tmp_path / "presets.json")


def test_a_preset_is_found_in_its_own_tab_also_after_a_restart(store: PresetStore, tmp_path: Path) -> None:
    store.save("txt2img", "Größe", {"width": 768, "styles": ["a"]})
    again = PresetStore(tmp_path / "presets.json")
    assert again.find("txt2img", "Größe") == {"width": 768, "styles": ["a"]}
    assert again.names("img2img") == ()


def test_names_are_listed_in_order(store: PresetStore) -> None:
    for name in ("beta", "Alpha"):
        store.save("txt2img", name, {"steps": 5})
    assert store.names("txt2img") == ("Alpha", "beta")


def test_a_deleted_preset_is_gone_and_the_others_stay(store: PresetStore) -> None:
    store.save("txt2img", "a", {})
    store.save("txt2img", "b", {})
    store.delete("txt2img", "a")
    assert store.names("txt2img") == ("b",)
    with pytest.raises(NotFound, match="'a'"):
        store.find("txt2img", "a")


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "", " edge", "bell\x07"])
def test_names_that_cannot_be_shown_are_refused(store: PresetStore, name: str) -> None:
    with pytest.raises(InvalidRequest):
        store.save("txt2img", name, {})


def test_a_form_beyond_all_measure_is_refused(store: PresetStore) -> None:
    with pytest.raises(InvalidRequest, match="characters"):
        store.save("txt2img", "a", {"prompt": "x" * MAX_CHARACTERS})


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"txt2img": 5, "img2img": {"a": 3}}'])
def test_a_damaged_file_is_not_written_over_unless_it_can_be_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "presets.json"
    path.write_text(content)
    store = PresetStore(path)
    if content.startswith('{"'):
        assert store.names("img2img") == ()
        return
    with pytest.raises(InvalidRequest, match=r"presets\.json"):
        store.save("txt2img", "a", {})
    assert path.read_text() == content
