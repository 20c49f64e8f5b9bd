"""What the dropdowns offer, and which values follow a checkpoint."""

from __future__ import annotations

from tests.catalog.model_files import VAE, write_model
from webui.app import App
from webui.core.request import GenerationRequest
from webui.ui.quicksettings import FITTED, fitting_values, offer_checkpoints, offer_vaes, refit


def test_values_changed_by_hand_survive_another_checkpoint() -> None:
    fitted = {name: getattr(GenerationRequest(), name) for name in FITTED}
    current = fitted | {"width": 768}
    fitting = fitted | {"width": 128, "height": 128, "steps": 15}
    assert refit(current, fitted, fitting) == fitting | {"width": 768}


def test_without_a_memory_every_value_is_the_checkpoints() -> None:
    fitting = {name: getattr(GenerationRequest(), name) for name in FITTED}
    assert refit({}, {}, fitting) == fitting


def test_fitting_values_are_the_checkpoints_own(fake_app: App) -> None:
    demo = fake_app.catalog.default_checkpoint()
    known = fake_app.catalog.defaults(demo)
    assert fitting_values(fake_app, demo.name) == {name: known[name] for name in FITTED}


def test_an_unknown_checkpoint_gets_the_requests_defaults(fake_app: App) -> None:
    assert fitting_values(fake_app, "no such checkpoint")["width"] == GenerationRequest().width


def test_the_chosen_checkpoint_stays_only_while_it_exists(fake_app: App) -> None:
    demo = fake_app.catalog.default_checkpoint().name
    assert offer_checkpoints(fake_app, "deleted.safetensors").value == demo
    assert {meant for _, meant in offer_checkpoints(fake_app, demo).choices} == {path.name for path in fake_app.paths.demo_family}


def test_vae_files_come_after_the_two_standing_choices(fake_app: App) -> None:
    vae = fake_app.paths.vaes[0] / "fine.safetensors"
    write_model(vae, VAE)
    fake_app.catalog.refresh()
    offer = offer_vaes(fake_app, "fine.safetensors")
    assert [meant for _, meant in offer.choices] == ["Automatic", "None", "fine.safetensors", "poster-for-demo.safetensors"]
    assert offer.value == "fine.safetensors"
