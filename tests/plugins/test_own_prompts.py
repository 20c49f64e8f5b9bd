"""Before a job is queued its prompts get their styles, lose their comments, and have their wildcards drawn, by plugins of our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.folders import install
from webui.core.errors import ExtensionFailed, InvalidRequest
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.core.styles import Style, StyleStore
from webui.core.wildcards import Wildcards
from webui.plugins.host import Host
from webui.plugins.own import own_plugins


@pytest.fixture
def host(tmp_path: Path) -> Host:
    store = StyleStore((tmp_path / "styles.csv",))
    store.save(Style("photo", "photo of {prompt}, 4k # fine", "blurry"))
    store.save(Style("ink", "ink", ""))
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "animal.txt").write_text("cat\ndog\nfox\nowl\n")
    return Host(tmp_path / "extensions", own_plugins(store, Wildcards(tmp_path / "wildcards")))


def prepared(host: Host, request: GenerationRequest, *styles: str, **changes: object) -> GenerationRequest:
    changed, remarks = host.prepare(request, Settings().changed(changes), styles)
    assert not remarks
    return changed


def test_styles_come_first_in_their_order_and_comments_go_then(host: Host) -> None:
    request = prepared(host, GenerationRequest(prompt="a cat# no dog", negative_prompt="red"), "ink", "photo")
    assert (request.prompt, request.negative_prompt) == ("photo of a cat\n", "red, blurry")


def test_comments_may_stay(host: Host) -> None:
    assert prepared(host, GenerationRequest(prompt="a # b"), enable_prompt_comments=False).prompt == "a # b"


def test_every_pictures_own_prompt_is_prepared(host: Host) -> None:
    request = prepared(host, GenerationRequest(prompt="a", batch_size=2, prompts=("a", "b")), "ink")
    assert (request.prompts, request.prompt) == (("a, ink", "b, ink"), "a, ink")


def test_an_unknown_style_is_a_remark(host: Host) -> None:
    request, remarks = host.prepare(GenerationRequest(prompt="a"), Settings(), ["gone", "ink"])
    assert request.prompt == "a, ink"
    assert remarks == ("There is no style 'gone'; drawn without.",)


def drawn(host: Host, request: GenerationRequest, **changes: object) -> GenerationRequest:
    changed, _ = host.prepare(request, Settings().changed(changes), ())
    return changed


def test_every_picture_draws_its_own_by_its_seed(host: Host) -> None:
    request = drawn(host, GenerationRequest(prompt="a __animal__", seed=5, batch_size=4, batch_count=5))
    assert len(request.prompts) == 20
    assert len(set(request.prompts)) > 2
    assert request.prompt_template == "a __animal__"
    alone = drawn(host, GenerationRequest(prompt="a __animal__", seed=5 + 7))
    assert alone.prompt == request.of_image(7).prompt
    assert (alone.prompts, alone.prompt_template) == ((), "a __animal__")


def test_with_a_variation_strength_the_variation_seeds_draw(host: Host) -> None:
    request = GenerationRequest(prompt="__animal__", seed=5, subseed=100, subseed_strength=0.5, batch_size=20)
    assert len(set(drawn(host, request).prompts)) > 2


def test_negative_prompts_are_drawn_too(host: Host) -> None:
    request = drawn(host, GenerationRequest(prompt="a", negative_prompt="{b|c}", seed=5, batch_size=20))
    assert request.prompts == ()
    assert set(request.negative_prompts) == {"b", "c"}
    assert (request.prompt_template, request.negative_template) == ("", "{b|c}")


def test_what_was_drawn_is_not_drawn_again(host: Host) -> None:
    once = drawn(host, GenerationRequest(prompt="{a|b} cat", seed=5, batch_size=2))
    assert drawn(host, once) == once
    assert drawn(host, once.of_image(1)) == once.of_image(1)


def test_wildcards_can_be_switched_off(host: Host) -> None:
    request = GenerationRequest(prompt="{a|b}", seed=5)
    assert drawn(host, request, wildcards=False) == request


def test_a_template_that_asks_for_too_much_is_refused(host: Host) -> None:
    with pytest.raises(InvalidRequest):
        drawn(host, GenerationRequest(prompt="{a|b}" * 19_000 + "{99$$__animal__}" * 100, seed=5, batch_count=1000))


def test_hook_prepare_prompts_is_between_comments_and_wildcards_and_may_go_anywhere(host: Host, tmp_path: Path) -> None:
    adds = "@hookimpl{}\ndef prepare_prompts(request):\n    return request.changed(prompt=request.prompt + ' {}')\n"
    added = (("early", "(tryfirst=True)", "e{1|1}"), ("late", "(trylast=True)", "{l|l}"), ("usual", "", "{u|u} # said"))
    for name, options, text in added:
        install(tmp_path / "extensions", name, adds.format(options, text))
    host.load()
    assert prepared(host, GenerationRequest(prompt="a cat", seed=3), "ink").prompt == "a cat e1, ink u # said {l|l}"


def test_an_extension_may_tell_the_user_and_its_failure_is_named(host: Host, tmp_path: Path) -> None:
    code = "@hookimpl\ndef prepare_prompts(settings, styles, tell):\n    tell(f'{styles[0]} {settings.wildcards}')\n"
    code += "    1 / len(styles[1:])\n"
    install(tmp_path / "extensions", "telling", code)
    host.load()
    assert host.prepare(GenerationRequest(), Settings(), ["ink", "ink"])[1] == ("ink True",)
    with pytest.raises(ExtensionFailed, match="Extension 'telling' failed in prepare_prompts: ZeroDivisionError"):
        host.prepare(GenerationRequest(), Settings(), ["ink"])


def test_a_picture_that_is_drawn_again_is_prepared_by_no_extension(host: Host, tmp_path: Path) -> None:
    install(tmp_path / "extensions", "adding", "@hookimpl\ndef prepare_prompts(request):\n    return request.changed(prompt='x')\n")
    host.load()
    first, _ = host.prepare(GenerationRequest(prompt="a", seed=1), Settings(), ())
    again = host.settle(first, Settings()).changed(prompt="b")
    assert first.prompt == "x"
    assert host.prepare(again, Settings(), ["ink"])[0].prompt == "b, ink"


def test_safe_mode_keeps_what_is_the_programs_own(tmp_path: Path) -> None:
    store = StyleStore((tmp_path / "styles.csv",))
    store.save(Style("ink", "ink", ""))
    install(tmp_path / "extensions", "adding", "@hookimpl\ndef prepare_prompts(request):\n    return request.changed(prompt='x')\n")
    host = Host(tmp_path / "extensions", own_plugins(store, Wildcards(tmp_path / "wildcards")), safe_mode=True)
    host.load()
    assert prepared(host, GenerationRequest(prompt="{a|a}", seed=1), "ink").prompt == "a, ink"
    assert "X/Y/Z plot" in [script.title for script in host.scripts()]


def test_a_folder_with_a_plugins_name_is_an_extension_like_any_other(host: Host, tmp_path: Path) -> None:
    for name in ("styles", "webui.styles"):
        install(tmp_path / "extensions", name, "")
    host.load()
    assert [extension.enabled for extension in host.extensions()] == [True, True]
