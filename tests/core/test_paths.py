from pathlib import Path

from webui.core.paths import PROGRAM, standard_paths


def test_folders_have_a1111s_names_below_the_data_folder(tmp_path):
    paths = standard_paths(tmp_path)
    assert paths.checkpoints[0] == tmp_path / "models" / "Stable-diffusion"
    assert paths.vaes[0] == tmp_path / "models" / "VAE"
    assert paths.loras[0] == tmp_path / "models" / "Lora"
    assert paths.embeddings[0] == tmp_path / "embeddings"
    assert paths.config == tmp_path / "config.json"
    assert all(path.is_relative_to(tmp_path) for path in (paths.outputs, paths.state, paths.unsaved, paths.extensions))


def test_folders_given_by_flags_come_after_the_standard_ones(tmp_path):
    paths = standard_paths(tmp_path, checkpoint_dirs=(Path("/models"),), vae_dirs=(Path("/vaes"),))
    assert paths.checkpoints[:2] == (tmp_path / "models" / "Stable-diffusion", Path("/models"))
    assert paths.vaes[:2] == (tmp_path / "models" / "VAE", Path("/vaes"))


def test_the_demo_model_is_found_wherever_the_data_folder_is(tmp_path):
    paths = standard_paths(tmp_path)
    assert paths.demo.is_file()
    assert paths.demo.parent in paths.checkpoints


def test_the_programs_own_folder_is_listed_once():
    paths = standard_paths(PROGRAM)
    assert (len(paths.checkpoints), len(paths.depth_models), len(paths.controls)) == (1, 1, 2)
    assert (len(paths.vaes), len(paths.loras), len(paths.embeddings)) == (1, 1, 2)


def test_what_ships_comes_after_the_users_own_wherever_the_data_folder_is(tmp_path):
    paths = standard_paths(tmp_path)
    assert paths.depth_models == (tmp_path / "models" / "Depth", PROGRAM / "models" / "Depth")
    assert paths.controls[-1] == PROGRAM / "models" / "ControlNet"
    assert (paths.vaes[-1], paths.loras[-1]) == (PROGRAM / "models" / "VAE", PROGRAM / "models" / "Lora")
    assert paths.embeddings[-1] == PROGRAM / "embeddings"
    assert all(path.is_file() for path in paths.demo_family)


def test_hypernetworks_lie_where_a1111_has_them(tmp_path):
    paths = standard_paths(tmp_path, hypernetwork_dirs=(Path("/hyper"),))
    assert paths.hypernetworks == (tmp_path / "models" / "hypernetworks", Path("/hyper"))
