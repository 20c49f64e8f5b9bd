import json
import pickle
import threading

import pytest

from webui.core.errors import InvalidRequest, StartupError, UnknownName
from webui.core.files import write_atomically
from webui.core.parameters import parameters_of
from webui.core.settings import Settings
from webui.core.settings_store import SettingsStore


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data" / "config.json"


def test_without_a_file_everything_has_its_default(file):
    assert SettingsStore(file).snapshot() == Settings()
    assert not file.exists()


def test_a_change_is_there_after_the_next_start(file):
    SettingsStore(file).change({"CLIP_stop_at_last_layers": 2})
    assert SettingsStore(file).snapshot().CLIP_stop_at_last_layers == 2


def test_only_what_differs_is_written(file):
    store = SettingsStore(file)
    store.change({"CLIP_stop_at_last_layers": 2, "emphasis": "Original"})
    assert json.loads(file.read_text()) == {"CLIP_stop_at_last_layers": 2}
    store.change({"CLIP_stop_at_last_layers": 1})
    assert json.loads(file.read_text()) == {}


def test_a_snapshot_does_not_change(file):
    store = SettingsStore(file)
    before = store.snapshot()
    store.change({"emphasis": "None"})
    assert before.emphasis == "Original"
    assert store.snapshot().emphasis == "None"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"CLIP_stop_at_last_layers": 2, "emphasis": "wild"}, UnknownName),
        ({"CLIP_stop_at_last_layers": 2, "no_such_setting": 1}, UnknownName),
        ({"CLIP_stop_at_last_layers": 99}, InvalidRequest),
        ({"eta_ddim": float("nan")}, InvalidRequest),
        ({"samples_save": "perhaps"}, InvalidRequest),
        ({"emphasis": None}, InvalidRequest),
        ({"directories_filename_pattern": "x" * 201}, InvalidRequest),
    ],
)
def test_a_bad_change_changes_nothing_at_all(file, changes, error):
    store = SettingsStore(file)
    with pytest.raises(error):
        store.change(changes)
    assert store.snapshot() == Settings()
    assert not file.exists()


def test_a_near_miss_is_offered(file):
    with pytest.raises(UnknownName, match="Did you mean 'CLIP_stop_at_last_layers'"):
        SettingsStore(file).change({"clip_stop_at_last_layer": 1})


def test_keys_of_other_programs_are_kept(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"sd_lora": "None", "emphasis": "Ignore"}))
    store = SettingsStore(file)
    assert store.snapshot().emphasis == "Ignore"
    store.change({"sd_vae": "None"})
    assert json.loads(file.read_text()) == {"sd_lora": "None", "emphasis": "Ignore", "sd_vae": "None"}


def test_the_command_line_wins_over_the_file_and_is_not_written_to_it(file):
    SettingsStore(file).change({"sd_model_checkpoint": "a"})
    store = SettingsStore(file, {"sd_model_checkpoint": "b"})
    assert store.snapshot().sd_model_checkpoint == "b"
    store.change({"sd_vae": "None"})
    assert store.snapshot().sd_model_checkpoint == "b"
    assert json.loads(file.read_text()) == {"sd_model_checkpoint": "a", "sd_vae": "None"}


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "\xff\xfe", '{"CLIP_stop_at_last_layers": 99}', '{"emphasis": "wild"}'])
def test_a_file_that_cannot_be_used_stops_the_start_and_names_the_file(file, text):
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(StartupError, match=r"config\.json"):
        SettingsStore(file)
    assert file.read_bytes() == text.encode("latin-1")


def test_changes_from_many_threads_are_all_kept(file):
    store = SettingsStore(file)
    changes = [{"CLIP_stop_at_last_layers": 3}, {"emphasis": "Ignore"}, {"sd_vae": "None"}, {"eta_ddim": 0.5}, {"randn_source": "CPU"}]
    threads = [threading.Thread(target=store.change, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = {key: value for change in changes for key, value in change.items()}
    assert json.loads(file.read_text()) == together
    assert store.snapshot() == Settings(**together)


def test_settings_survive_pickling_and_json():
    settings = Settings(emphasis="Ignore", eta_ddim=0.25)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


# --- what no request may reach (attacks.md 2 and 3)


def test_no_setting_is_a_folder():
    for name in parameters_of(Settings):
        assert not name.startswith("outdir")
        assert "path" not in name
        assert not name.endswith("_dir")


@pytest.mark.parametrize("key", ["outdir_samples", "outdir_txt2img_samples", "outdir_save", "outdir_grids"])
def test_a1111s_path_settings_cannot_be_set(file, key):
    with pytest.raises(UnknownName):
        SettingsStore(file).change({key: "/tmp/evil"})
    with pytest.raises(UnknownName):
        Settings().changed({key: "/tmp/evil"})


@pytest.mark.parametrize("key", ["directories_filename_pattern", "samples_filename_pattern"])
@pytest.mark.parametrize("pattern", ["../up", "a/../../b", "..\\up", "/etc/x", "\\\\server\\share", "C:\\x", "c:x", ".."])
def test_a_file_name_pattern_cannot_lead_out_of_the_outputs_folder(key, pattern):
    with pytest.raises(InvalidRequest, match="must stay inside outputs/"):
        Settings().changed({key: pattern})


@pytest.mark.parametrize("pattern", ["", "[date]", "[model_name]/[date]", "[datetime<%H:%M>]", "a..b", "[seed]..."])
def test_ordinary_file_name_patterns_are_accepted(pattern):
    assert Settings().changed({"directories_filename_pattern": pattern}).directories_filename_pattern == pattern


# --- write_atomically


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_does_not_change_the_settings(file, monkeypatch):
    store = SettingsStore(file)
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.change({"emphasis": "None"})
    assert store.snapshot().emphasis == "Original"
