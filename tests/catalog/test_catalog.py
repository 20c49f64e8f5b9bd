import hashlib
import json
import os
import threading
import time
from contextlib import closing

import pytest

from tests.catalog.model_files import EMBEDDING, LORA, SD1, SDXL, VAE, write_model, write_torch_zip
from webui.catalog import catalog as catalog_module
from webui.catalog.catalog import Catalog
from webui.core.errors import InvalidRequest, ModelError, NotFound, UnknownName
from webui.core.paths import PROGRAM, Paths, standard_paths


@pytest.fixture
def paths(tmp_path):
    return Paths(
        data=tmp_path,
        demo=tmp_path / "program" / "demo.safetensors",
        outputs=tmp_path / "outputs",
        checkpoints=(tmp_path / "checkpoints", tmp_path / "more", tmp_path / "program"),
        vaes=(tmp_path / "vaes",),
        loras=(tmp_path / "loras",),
        embeddings=(tmp_path / "embeddings",),
        preview_decoders=(),
        extensions=tmp_path / "extensions",
        hypernetworks=(tmp_path / "hypernetworks",),
    )


@pytest.fixture
def models(paths):
    """Where checkpoints are put."""
    return paths.checkpoints[0]


@pytest.fixture
def catalog(paths):
    catalog = Catalog(paths)
    yield catalog
    catalog.close()


def listed(catalog):
    catalog.refresh()
    return [checkpoint.name for checkpoint in catalog.checkpoints()]


def faults(catalog):
    catalog.refresh()
    return {broken.name: broken.reason for broken in catalog.broken()}


# --- lists


def test_checkpoints_are_listed_in_natural_order(catalog, models):
    for name in ("v10", "v9", "sub/a"):
        write_model(models / f"{name}.safetensors")
    assert listed(catalog) == ["sub/a.safetensors", "v9.safetensors", "v10.safetensors"]


def test_the_bundled_demo_model_is_a_checkpoint_with_its_own_defaults(tmp_path):
    catalog = Catalog(standard_paths(tmp_path))
    catalog.refresh()
    checkpoint = catalog.find_checkpoint("")
    assert checkpoint.path == PROGRAM / "models" / "Stable-diffusion" / "demo.safetensors"
    assert catalog.defaults(checkpoint)["width"] == int(checkpoint.identity.metadata["default_width"])
    catalog.close()


def test_a_checkpoint_of_the_users_own_goes_before_all_that_ship(catalog, models, paths):
    for path in paths.demo_family:
        write_model(path)
    catalog.refresh()
    assert catalog.find_checkpoint("").path == paths.demo
    write_model(models / "zebra.safetensors")
    catalog.refresh()
    assert catalog.find_checkpoint("").name == "zebra.safetensors"


def test_other_families_are_broken_with_a_plain_sentence(catalog, models):
    write_model(models / "sd3.safetensors", {"model.diffusion_model.x_embedder.proj.weight": (2, 2)})
    write_model(models / "lora.safetensors", {"x.lora_up.weight": (2, 2)})
    write_model(models / "vae.safetensors", VAE)
    write_model(models / "other.safetensors", {"x": (2, 2)})
    write_model(models / "part.safetensors", {name: shape for name, shape in SD1.items() if "cond_stage" not in name})
    assert faults(catalog) == {
        "sd3.safetensors": "is an SD 3 checkpoint; this version draws SD 1.x, SD 2.x and SDXL",
        "lora.safetensors": "is a LoRA; put it into models/Lora",
        "vae.safetensors": "is a VAE; put it into models/VAE",
        "other.safetensors": "is no model that is known here; this version draws SD 1.x, SD 2.x and SDXL",
        "part.safetensors": "is a part of an SD 1.x checkpoint, without its text encoder or VAE; get the whole checkpoint",
    }
    assert listed(catalog) == []


def test_files_that_are_no_models_are_broken_whatever_they_are_called(catalog, models):
    models.mkdir()
    (models / "a.CKPT").write_bytes(b"\x80\x02}q\x00.")
    (models / "b.safetensors").write_bytes(b"PK\x03\x04 and so on")
    assert faults(catalog) == {
        "a.CKPT": "is a pickle file older than PyTorch 1.6; convert it to .safetensors",
        "b.safetensors": "is cut short: the end of its zip file is missing; download it again",
    }


def test_a_folder_of_nothing_but_trouble_is_listed_without_an_exception(catalog, models):
    write_model(models / "cut.safetensors")
    os.truncate(models / "cut.safetensors", 30)
    (models / "empty.safetensors").touch()
    (models / "link.safetensors").symlink_to("nowhere")
    (models / "loop").symlink_to(models)
    (models / "noise.safetensors").write_bytes(os.urandom(1000))
    assert faults(catalog).keys() == {"cut.safetensors", "empty.safetensors", "link.safetensors", "noise.safetensors"}


def test_a_file_that_cannot_be_used_is_named_in_the_log_once(catalog, models, caplog):
    models.mkdir()
    (models / "old.ckpt").write_bytes(b"\x80\x02pickle")
    for _ in range(2):
        catalog.refresh()
    assert [record.getMessage() for record in caplog.records if "old.ckpt" in record.getMessage()] == [
        f"{fault.name} {fault.reason}." for fault in catalog.broken()
    ]


def test_a_file_mended_later_is_listed_after_a_refresh(catalog, models):
    models.mkdir()
    (models / "m.safetensors").write_bytes(b"half")
    assert listed(catalog) == []
    write_model(models / "m.safetensors")
    assert listed(catalog) == ["m.safetensors"]
    assert catalog.broken() == ()


def test_the_first_root_keeps_a_name_that_two_have(catalog, paths):
    for root in paths.checkpoints[:2]:
        write_model(root / "m.safetensors")
    assert listed(catalog) == ["m.safetensors", "more/m.safetensors"]
    assert catalog.find_checkpoint("m.safetensors").path == paths.checkpoints[0] / "m.safetensors"
    assert catalog.find_checkpoint("more/m.safetensors").path == paths.checkpoints[1] / "m.safetensors"


def test_vaes_come_from_their_folder_and_from_beside_checkpoints(catalog, paths, models):
    write_model(paths.vaes[0] / "a.safetensors", VAE)
    write_model(models / "m.vae.safetensors", VAE)
    write_model(models / "n.VAE.safetensors", VAE)
    write_model(models / "x.vae.safetensors", SDXL)
    write_model(models / "y.vae.safetensors", {**VAE, "decoder.conv_in.weight": (2, 16, 1, 1)})
    assert listed(catalog) == []
    assert [vae.name for vae in catalog.vaes()] == ["a.safetensors", "m.vae.safetensors", "n.VAE.safetensors"]
    assert [(broken.name, broken.reason) for broken in catalog.broken()] == [
        ("x.vae.safetensors", "is not a VAE"),
        ("y.vae.safetensors", "is a VAE for other latents than the 4 channels of SD 1.x, 2.x and SDXL"),
    ]


def test_two_vaes_of_one_name_have_two_names(catalog, paths, models):
    write_model(paths.vaes[0] / "m.vae.safetensors", VAE)
    write_model(models / "m.vae.safetensors", VAE)
    catalog.refresh()
    assert [vae.name for vae in catalog.vaes()] == ["checkpoints/m.vae.safetensors", "m.vae.safetensors"]


def test_one_folder_may_serve_for_checkpoints_and_vaes(paths, models):
    catalog = Catalog(Paths(**{**vars(paths), "vaes": (models,)}))
    write_model(models / "m.safetensors")
    write_model(models / "v.safetensors", VAE)
    write_model(models / "w.vae.safetensors", VAE)
    catalog.refresh()
    assert [file.name for file in catalog.checkpoints()] == ["m.safetensors"]
    assert [file.name for file in catalog.vaes()] == ["v.safetensors", "w.vae.safetensors"]
    assert catalog.broken() == ()
    catalog.close()


def test_unchanged_files_are_identified_once(catalog, models, paths, monkeypatch):
    write_model(models / "m.safetensors", SD1, {"a": "b"})
    catalog.refresh()
    catalog.close()
    monkeypatch.setattr(catalog_module, "identify_checkpoint", None)
    again = Catalog(paths)
    assert listed(again) == ["m.safetensors"]
    assert again.checkpoints()[0].identity.metadata == {"a": "b"}
    again.close()


def test_who_asks_while_the_program_starts_finds_the_models(paths, models):
    write_model(models / "early.safetensors", SD1)
    with closing(Catalog(paths, hashing=False)) as starting:
        assert starting.find_checkpoint("early").name == "early.safetensors"
    with closing(Catalog(paths, hashing=False)) as starting:
        assert "early.safetensors" in [one.name for one in starting.checkpoints()]


def test_refreshing_from_many_threads_gives_one_answer(catalog, models):
    for number in range(20):
        write_model(models / f"{number}.safetensors")
    threads = [threading.Thread(target=catalog.refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(catalog.checkpoints()) == 20


# --- finding checkpoints


@pytest.fixture
def known(catalog, models):
    """Three checkpoints, hashed."""
    write_model(models / "sub" / "Photo v1.safetensors", fill=b"1")
    write_model(models / "anime.safetensors", fill=b"2")
    write_model(models / "anime-inky.safetensors", {**SD1, "x": (0x90000,)}, fill=b"3")
    catalog.refresh()
    for checkpoint in catalog.checkpoints():
        catalog.sha256(checkpoint)
    return catalog


def digest_of(models, name):
    return hashlib.sha256((models / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "alias",
    [
        "sub/Photo v1.safetensors", "sub\\Photo v1.safetensors", "sub_Photo v1", "Photo v1", "Photo v1.safetensors",
        " sub/Photo v1.safetensors ", "{10}", "{64}", "{UPPER}", "sub/Photo v1.safetensors [{10}]", "Photo v1 [{10}]",
        "Photo v1.safetensors [0123456789]", "Photo", "sub/Ph",
    ],
)  # fmt: skip
def test_a_checkpoint_answers_to_every_name_of_a1111s(known, models, alias):
    sha256 = digest_of(models, "sub/Photo v1.safetensors")
    alias = alias.replace("{10}", sha256[:10]).replace("{64}", sha256).replace("{UPPER}", sha256[:10].upper())
    assert known.find_checkpoint(alias).name == "sub/Photo v1.safetensors"


def test_a_checkpoint_answers_to_its_legacy_hash(known, models):
    content = (models / "anime-inky.safetensors").read_bytes()
    legacy = hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]
    assert known.find_checkpoint(legacy).name == "anime-inky.safetensors"
    assert known.find_checkpoint(f"anime-inky.safetensors [{legacy}]").name == "anime-inky.safetensors"


def test_an_exact_name_wins_over_a_longer_one_that_contains_it(known):
    assert known.find_checkpoint("anime").name == "anime.safetensors"


def test_of_several_titles_that_contain_the_text_the_shortest_is_meant(known):
    assert known.find_checkpoint("nime").name == "anime.safetensors"


def test_a_name_that_was_chosen_never_comes_to_mean_another_file(known, models):
    chosen = known.find_checkpoint("anime.safetensors", closest=False)
    chosen.path.rename(models / "my anime.safetensors")
    known.refresh()
    assert known.find_checkpoint("anime.safetensors").name == "my anime.safetensors"
    with pytest.raises(UnknownName):
        known.find_checkpoint("anime.safetensors", closest=False)


def test_a_wrong_hash_in_brackets_does_not_hide_the_name(known):
    assert known.find_checkpoint("anime-inky.safetensors [ffffffffff]").name == "anime-inky.safetensors"


def test_a_full_name_wins_over_the_stem_of_another(catalog, models):
    write_model(models / "a" / "m.safetensors")
    write_model(models / "m.safetensors")
    catalog.refresh()
    assert catalog.find_checkpoint("m.safetensors").name == "m.safetensors"


@pytest.mark.parametrize("name", ["phtoo v1", "[]", "[abc]", "[0123456789]", "ffffffff", "0" * 64, "../anime", "/etc/passwd"])
def test_an_unknown_name_is_told_with_the_nearest(known, name):
    with pytest.raises(UnknownName):
        known.find_checkpoint(name)


def test_an_unknown_name_offers_the_nearest(known):
    with pytest.raises(UnknownName, match=r"Did you mean 'anime\.safetensors'"):
        known.find_checkpoint("anmie.safetensors")


def test_asking_for_a_broken_file_says_why_it_cannot_be_used(known, models):
    write_model(models / "sd3-anime.safetensors", {"model.diffusion_model.x_embedder.proj.weight": (2, 2)})
    known.refresh()
    with pytest.raises(InvalidRequest, match=r"sd3-anime.safetensors is an SD 3 checkpoint; this version draws SD 1.x, SD 2.x and SDXL\."):
        known.find_checkpoint("sd3-anime")


def test_no_name_means_the_users_own_first_checkpoint_else_the_demo(catalog, paths, models):
    write_model(paths.demo)
    catalog.refresh()
    assert catalog.find_checkpoint("").path == paths.demo
    write_model(models / "zebra.safetensors")
    catalog.refresh()
    assert catalog.find_checkpoint(" ").name == "zebra.safetensors"


def test_without_any_checkpoint_it_says_where_to_put_one(catalog, models):
    catalog.refresh()
    with pytest.raises(NotFound, match=str(models)):
        catalog.find_checkpoint("")


# --- finding VAEs


@pytest.fixture
def with_vaes(catalog, paths, models):
    write_model(models / "m.safetensors")
    write_model(paths.vaes[0] / "mse.safetensors", VAE)
    write_model(paths.vaes[0] / "sub" / "other.safetensors", VAE)
    catalog.refresh()
    return catalog


def test_automatic_takes_the_vae_named_most_like_the_checkpoint(with_vaes, paths, models):
    checkpoint = with_vaes.find_checkpoint("m")
    assert with_vaes.find_vae("Automatic", checkpoint).name == "mse.safetensors"
    write_model(models / "m.vae.safetensors", VAE)
    with_vaes.refresh()
    assert with_vaes.find_vae("Automatic", checkpoint).name == "m.vae.safetensors"
    write_model(paths.vaes[0] / "m.safetensors", VAE)
    with_vaes.refresh()
    assert with_vaes.find_vae("Automatic", checkpoint).name == "m.safetensors"


def test_automatic_without_a_fitting_vae_is_the_checkpoints_own(with_vaes, models):
    write_model(models / "zebra.safetensors")
    with_vaes.refresh()
    assert with_vaes.find_vae("Automatic", with_vaes.find_checkpoint("zebra")) is None


def test_none_is_always_the_checkpoints_own(with_vaes):
    assert with_vaes.find_vae("None", with_vaes.find_checkpoint("m")) is None


@pytest.mark.parametrize("name", ["sub/other.safetensors", "other.safetensors", "other", "sub_other"])
def test_a_vae_answers_to_its_names(with_vaes, name):
    assert with_vaes.find_vae(name, with_vaes.find_checkpoint("m")).name == "sub/other.safetensors"


def test_an_unknown_vae_is_told_with_the_nearest(with_vaes):
    with pytest.raises(UnknownName, match=r"Unknown VAE 'msee.safetensors'. Did you mean 'mse.safetensors'"):
        with_vaes.find_vae("msee.safetensors", with_vaes.find_checkpoint("m"))


def test_a_broken_vae_is_refused_with_its_reason(with_vaes, paths):
    (paths.vaes[0] / "half.safetensors").write_bytes(b"half")
    with_vaes.refresh()
    with pytest.raises(InvalidRequest, match=r"half\.safetensors is"):
        with_vaes.find_vae("half.safetensors", with_vaes.find_checkpoint("m"))


# --- LoRAs, embeddings, hypernetworks


@pytest.fixture
def with_adapters(catalog, paths):
    write_model(paths.loras[0] / "style.safetensors", LORA, {"ss_output_name": "Nice"})
    write_model(paths.embeddings[0] / "word.safetensors", EMBEDDING)
    write_torch_zip(paths.hypernetworks[0] / "hyper.pt", {768: {"linear.0.weight": 1}})
    catalog.refresh()
    return catalog


def test_adapters_are_listed_and_found_by_name(with_adapters):
    (lora,), (embedding,), (hypernetwork,) = with_adapters.loras(), with_adapters.embeddings(), with_adapters.hypernetworks()
    assert with_adapters.find_lora("style") == with_adapters.find_lora("Nice") == lora
    assert with_adapters.find_embedding("word") == embedding
    assert with_adapters.find_hypernetwork("hyper") == hypernetwork
    assert with_adapters.broken() == ()


@pytest.mark.parametrize(("find", "message"), [
    (lambda catalog: catalog.find_lora("stlye"), "Unknown LoRA 'stlye'. Did you mean 'style'"),
    (lambda catalog: catalog.find_lora("nice"), "Unknown LoRA 'nice'. Did you mean 'Nice'"),
    (lambda catalog: catalog.find_embedding("wrod"), "Unknown embedding 'wrod'. Did you mean 'word'"),
    (lambda catalog: catalog.find_hypernetwork("hypre"), "Unknown hypernetwork 'hypre'. Did you mean 'hyper'"),
])  # fmt: skip
def test_an_unknown_adapter_is_not_found_and_told_with_the_nearest(with_adapters, find, message):
    with pytest.raises(NotFound, match=message):
        find(with_adapters)


def test_an_adapter_added_meanwhile_is_found_without_a_refresh(with_adapters, paths):
    write_model(paths.loras[0] / "new.safetensors", LORA)
    assert with_adapters.find_lora("new").name == "new.safetensors"


def test_asking_for_a_broken_adapter_says_why_it_cannot_be_used(with_adapters, paths):
    write_model(paths.loras[0] / "wrong.safetensors", VAE)
    with pytest.raises(InvalidRequest, match=r"wrong\.safetensors is a VAE; put it into models/VAE\."):
        with_adapters.find_lora("wrong")
    with pytest.raises(NotFound):
        with_adapters.find_embedding("wrong")
    with pytest.raises(UnknownName):
        with_adapters.find_checkpoint("wrong")


def test_broken_adapters_are_listed_and_named_in_the_log_once(catalog, paths, caplog):
    write_torch_zip(paths.loras[0] / "evil.pt", pickled=b"\x80\x02cposix\nsystem\n.")
    for _ in range(2):
        catalog.refresh()
    assert [broken.name for broken in catalog.broken()] == ["evil.pt"]
    assert len([record for record in caplog.records if "evil.pt asks for 'posix.system'" in record.getMessage()]) == 1


def test_one_folder_may_serve_for_checkpoints_and_loras(paths, models):
    catalog = Catalog(Paths(**{**vars(paths), "loras": (models,)}))
    write_model(models / "m.safetensors")
    write_model(models / "l.safetensors", LORA)
    catalog.refresh()
    assert [file.name for file in catalog.checkpoints()] == ["m.safetensors"]
    assert [file.name for file in catalog.loras()] == ["l.safetensors"]
    assert catalog.broken() == ()
    catalog.close()


def test_unchanged_adapters_are_identified_once(with_adapters, paths, monkeypatch):
    with_adapters.close()
    monkeypatch.setattr(catalog_module, "identify_adapter", None)
    again = Catalog(paths)
    again.refresh()
    assert again.find_lora("Nice").name == "style.safetensors"
    assert again.find_hypernetwork("hyper").name == "hyper.pt"
    again.close()


def test_a_loras_hash_is_kohyas_twelve_digits(with_adapters):
    (lora,) = with_adapters.loras()
    assert with_adapters.lora_hash(lora) == hashlib.sha256(bytes(16)).hexdigest()[:12]


def test_a_loras_hash_is_the_one_in_its_metadata_if_that_is_a_hash(catalog, paths):
    write_model(paths.loras[0] / "a.safetensors", LORA, {"sshs_model_hash": "ab" * 32})
    write_model(paths.loras[0] / "b.safetensors", LORA, {"sshs_model_hash": "x, CFG scale: 1"})
    catalog.refresh()
    assert [catalog.lora_hash(lora) for lora in catalog.loras()] == ["ab" * 6, hashlib.sha256(bytes(16)).hexdigest()[:12]]


def test_a_pickled_loras_hash_and_an_embeddings_are_of_the_whole_file(with_adapters, paths):
    path = write_torch_zip(paths.loras[0] / "old.pt", {"lora_unet_x.lora_up.weight": 1})
    assert with_adapters.lora_hash(with_adapters.find_lora("old")) == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    (embedding,) = with_adapters.embeddings()
    assert with_adapters.embedding_hash(embedding) == hashlib.sha256(embedding.path.read_bytes()).hexdigest()[:12]


def test_adapters_hashes_are_noted_and_follow_the_file(with_adapters, paths, monkeypatch):
    (lora,) = with_adapters.loras()
    first = with_adapters.lora_hash(lora)
    with monkeypatch.context() as patch:
        patch.setattr(catalog_module, "addnet_hash_of", None)
        assert with_adapters.lora_hash(lora) == first
    write_model(paths.loras[0] / "style.safetensors", {**LORA, "more": (1,)}, fill=b"z")
    assert with_adapters.lora_hash(lora) == hashlib.sha256(b"z" * 18).hexdigest()[:12]


def test_without_hashing_a_lora_has_the_hash_of_its_metadata_alone(paths):
    write_model(paths.loras[0] / "a.safetensors", LORA, {"sshs_model_hash": "ab" * 32})
    write_model(paths.loras[0] / "b.safetensors", LORA)
    catalog = Catalog(paths, hashing=False)
    catalog.refresh()
    assert [catalog.lora_hash(lora) for lora in catalog.loras()] == ["ab" * 6, ""]
    catalog.close()


def test_adapters_are_hashed_in_the_background(with_adapters):
    with_adapters.start_hashing()
    deadline = time.monotonic() + 30
    while with_adapters._without_hash() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert with_adapters._without_hash() == []
    assert with_adapters.known_sha256(with_adapters.embeddings()[0])


# --- hashes and titles


def test_the_title_has_the_hash_once_it_is_known(catalog, models):
    write_model(models / "m.safetensors")
    catalog.refresh()
    (checkpoint,) = catalog.checkpoints()
    assert catalog.title(checkpoint) == "m.safetensors"
    sha256 = catalog.sha256(checkpoint)
    assert sha256 == digest_of(models, "m.safetensors")
    assert catalog.title(checkpoint) == f"m.safetensors [{sha256[:10]}]"


def test_a_hash_is_not_computed_twice(catalog, models, monkeypatch):
    write_model(models / "m.safetensors")
    catalog.refresh()
    sha256 = catalog.sha256(catalog.checkpoints()[0])
    monkeypatch.setattr(catalog_module, "sha256_of", None)
    assert catalog.sha256(catalog.checkpoints()[0]) == sha256


def test_a_changed_file_gets_a_new_hash(catalog, models):
    write_model(models / "m.safetensors", fill=b"1")
    catalog.refresh()
    old = catalog.checkpoints()[0]
    first = catalog.sha256(old)
    write_model(models / "m.safetensors", {**SD1, "x": (1,)}, fill=b"2")
    catalog.refresh()
    assert catalog.known_sha256(catalog.checkpoints()[0]) is None
    assert catalog.sha256(catalog.checkpoints()[0]) == digest_of(models, "m.safetensors") != first


def test_a_replaced_file_gets_its_new_hash_without_a_refresh(catalog, models):
    write_model(models / "m.safetensors", fill=b"1")
    catalog.refresh()
    listed_before = catalog.checkpoints()[0]
    first = catalog.sha256(listed_before)
    write_model(models / "m.safetensors", {**SD1, "x": (1,)}, fill=b"2")
    assert catalog.sha256(listed_before) == digest_of(models, "m.safetensors") != first


def test_a_file_written_to_while_it_is_hashed_keeps_no_hash(catalog, models, monkeypatch):
    path = write_model(models / "m.safetensors")
    catalog.refresh()
    (checkpoint,) = catalog.checkpoints()

    def hash_and_write(path, stop=None):
        os.utime(path, ns=(1, 1))
        return "f" * 64

    monkeypatch.setattr(catalog_module, "sha256_of", hash_and_write)
    assert catalog.sha256(checkpoint) == "f" * 64
    catalog.refresh()
    assert path.stat().st_mtime_ns == 1
    assert catalog.known_sha256(catalog.checkpoints()[0]) is None


def test_hashing_a_file_that_is_gone_is_a_model_error(catalog, models):
    path = write_model(models / "m.safetensors")
    catalog.refresh()
    path.unlink()
    with pytest.raises(ModelError, match=r"m.safetensors cannot be read: No such file"):
        catalog.sha256(catalog.checkpoints()[0])


def test_two_threads_that_want_one_hash_compute_it_once(catalog, models, monkeypatch):
    write_model(models / "m.safetensors")
    catalog.refresh()
    (checkpoint,) = catalog.checkpoints()
    computed = []

    def slowly(path, stop=None):
        computed.append(path)
        time.sleep(0.05)
        return "a" * 64

    monkeypatch.setattr(catalog_module, "sha256_of", slowly)
    threads = [threading.Thread(target=catalog.sha256, args=(checkpoint,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_hashes_come_by_themselves_in_the_background(catalog, paths, models):
    write_model(models / "m.safetensors")
    write_model(paths.vaes[0] / "v.safetensors", VAE)
    catalog.refresh()
    catalog.start_hashing()
    wait_until(lambda: all(map(catalog.known_sha256, (*catalog.checkpoints(), *catalog.vaes()))))
    write_model(models / "n.safetensors")
    catalog.refresh()
    wait_until(lambda: all(map(catalog.known_sha256, catalog.checkpoints())))


def test_without_hashing_no_hash_is_ever_computed(paths, models, monkeypatch):
    monkeypatch.setattr(catalog_module, "sha256_of", None)
    catalog = Catalog(paths, hashing=False)
    write_model(models / "m.safetensors")
    catalog.refresh()
    catalog.start_hashing()
    assert catalog.sha256(catalog.checkpoints()[0]) == ""
    assert catalog.title(catalog.checkpoints()[0]) == "m.safetensors"
    catalog.close()


def test_closing_twice_is_fine(paths):
    catalog = Catalog(paths)
    catalog.start_hashing()
    catalog.close()
    catalog.close()


# --- defaults


def test_defaults_come_from_the_metadata(catalog, models):
    metadata = {"default_width": "128", "default_height": "192", "default_steps": "12", "default_cfg_scale": "5",
                "default_sampler": "Euler a", "default_schedule": "Karras"}  # fmt: skip
    write_model(models / "m.safetensors", SD1, metadata)
    catalog.refresh()
    assert catalog.defaults(catalog.checkpoints()[0]) == {
        "width": 128, "height": 192, "steps": 12, "cfg_scale": 5.0, "sampler": "Euler a", "schedule": "Karras",
    }  # fmt: skip


def test_defaults_without_metadata_are_sd1s_own(catalog, models):
    write_model(models / "m.safetensors")
    catalog.refresh()
    assert catalog.defaults(catalog.checkpoints()[0]) == {
        "width": 512, "height": 512, "steps": 20, "cfg_scale": 7.0, "sampler": "DPM++ 2M", "schedule": "Automatic",
    }  # fmt: skip


def test_a_checkpoint_of_sdxl_is_for_larger_pictures(catalog, models):
    write_model(models / "m.safetensors", SDXL)
    catalog.refresh()
    defaults = catalog.defaults(catalog.checkpoints()[0])
    assert (defaults["width"], defaults["height"]) == (1024, 1024)


def test_invalid_defaults_are_ignored_with_a_log_line(catalog, models, caplog):
    metadata = {"default_width": "130", "default_steps": "many", "default_sampler": "Magic", "default_cfg_scale": "inf",
                "default_height": "1" + "0" * 5000, "default_schedule": "Karras"}  # fmt: skip
    write_model(models / "m.safetensors", SD1, metadata)
    catalog.refresh()
    defaults = catalog.defaults(catalog.checkpoints()[0])
    assert defaults == {"width": 512, "height": 512, "steps": 20, "cfg_scale": 7.0, "sampler": "DPM++ 2M", "schedule": "Karras"}
    for key in ("default_width", "default_steps", "default_sampler", "default_cfg_scale", "default_height"):
        assert key in caplog.text


def test_defaults_are_plain_values_for_json(catalog, models):
    write_model(models / "m.safetensors", SD1, {"default_width": "128"})
    catalog.refresh()
    assert json.loads(json.dumps(catalog.defaults(catalog.checkpoints()[0])))["width"] == 128
