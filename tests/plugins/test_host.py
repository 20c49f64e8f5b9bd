import sys

import pytest

from webui.core.errors import InvalidRequest, WebuiError
from webui.core.request import GenerationRequest
from webui.core.result import GenerationResult, Picture
from webui.plugins.host import Host

REQUEST = GenerationRequest(prompt="a", seed=1)
HEAD = "from webui.plugins.hookspecs import hookimpl\n"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "extensions"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def _forget_extensions():
    yield
    for name in [name for name in sys.modules if name.startswith("webui_extensions.")]:
        del sys.modules[name]


def install(folder, name, code, **neighbours):
    (folder / name).mkdir()
    (folder / name / "extension.py").write_text(HEAD + code)
    for module, text in neighbours.items():
        (folder / name / f"{module}.py").write_text(text)


def adding(word):
    """Code of an extension that adds a word to the prompt."""
    return f"@hookimpl\ndef change_request(request):\n    return request.changed(prompt=request.prompt + {word!r})\n"


def loaded(folder, **options):
    host = Host(folder, **options)
    host.load()
    return host


def picture_in(folder):
    return Picture("id", "job", 0, folder / "p.png", REQUEST, "", True)


# --- loading


def test_without_a_folder_there_are_no_extensions(tmp_path):
    assert loaded(tmp_path / "missing").extensions() == ()


def test_extensions_are_listed_by_name(folder):
    for name in ("b", "a", "c-d.e"):
        install(folder, name, "")
    (folder / ".hidden").mkdir()
    (folder / "__pycache__").mkdir()
    (folder / "file.txt").touch()
    host = loaded(folder)
    assert [(each.name, each.path, each.enabled, each.error) for each in host.extensions()] == [
        (name, folder / name, True, None) for name in ("a", "b", "c-d.e")
    ]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("@hookimpl\ndef change_requests(request): ...", "unknown hook 'change_requests'"),
        ("@hookimpl\ndef change_request(reqest): ...", "reqest"),
        ("@hookimpl(wrapper=True)\ndef change_request(request):\n    return (yield)", "wrappers are not supported"),
    ],
)
def test_an_extension_that_fails_to_load_is_disabled_and_says_why(folder, code, error, caplog):
    install(folder, "a-good", adding(" good"))
    install(folder, "bad", code)
    install(folder, "c-good", adding(" too"))
    host = loaded(folder)
    states = {each.name: each.enabled for each in host.extensions()}
    assert states == {"a-good": True, "bad": False, "c-good": True}
    assert error in host.extensions()[1].error
    assert "'bad' is disabled" in caplog.text
    assert host.change_request(REQUEST).prompt == "a good too"
    assert "webui_extensions.bad" not in sys.modules


def test_a_folder_without_an_entry_says_so(folder):
    (folder / "nested").mkdir()
    (extension,) = loaded(folder).extensions()
    assert (extension.enabled, extension.error) == (False, "has no extension.py")


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        ('min_version = "99.0"', "a needs version 99.0 of this program or newer"),
        ('max_version = "0.0.1"', "a works up to version 0.0.1 of this program"),
        ("nmae = 1", "nmae"),
    ],
)
def test_an_extension_for_another_version_is_not_run(folder, tmp_path, manifest, error):
    install(folder, "a", f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (folder / "a" / "extension.toml").write_text(manifest)
    (extension,) = loaded(folder).extensions()
    assert not extension.enabled
    assert error in extension.error
    assert not (tmp_path / "ran").exists()


def test_safe_mode_runs_no_code_of_any_extension(folder, tmp_path):
    install(folder, "a", f"open({str(tmp_path / 'ran')!r}, 'w')\n" + adding(" x"))
    host = loaded(folder, safe_mode=True)
    assert [(each.name, each.enabled, each.error) for each in host.extensions()] == [("a", False, "not loaded: safe mode")]
    assert host.change_request(REQUEST) == REQUEST
    assert not (tmp_path / "ran").exists()


def test_an_extension_may_import_its_neighbours(folder):
    install(folder, "a", "from . import words\n" + adding(" x").replace("' x'", "words.WORD"), words="WORD = ' near'\n")
    assert loaded(folder).change_request(REQUEST).prompt == "a near"


def test_two_extensions_may_have_modules_of_one_name(folder):
    for name in ("a", "b-2.0"):
        install(folder, name, "from . import words\n" + adding(" x").replace("' x'", "words.WORD"), words=f"WORD = ' {name}'\n")
    assert loaded(folder).change_request(REQUEST).prompt == "a a b-2.0"


def test_two_hosts_do_not_share_extensions(folder, tmp_path):
    (tmp_path / "others").mkdir()
    install(folder, "a", adding(" one"))
    install(tmp_path / "others", "a", adding(" two"))
    first, second = loaded(folder), loaded(tmp_path / "others")
    assert first.change_request(REQUEST).prompt == "a one"
    assert second.change_request(REQUEST).prompt == "a two"


# --- change_request


def test_hook_change_request_is_chained_in_the_order_of_names(folder):
    for name in ("2nd", "1st", "3rd"):
        install(folder, name, adding(f" {name}"))
    assert loaded(folder).change_request(REQUEST).prompt == "a 1st 2nd 3rd"


def test_an_extension_may_ask_to_be_first_or_last(folder):
    install(folder, "a", adding(" last").replace("@hookimpl", "@hookimpl(trylast=True)"))
    install(folder, "b", adding(" middle"))
    install(folder, "c", adding(" first").replace("@hookimpl", "@hookimpl(tryfirst=True)"))
    assert loaded(folder).change_request(REQUEST).prompt == "a first middle last"


def test_none_leaves_the_request_as_it_is(folder):
    install(folder, "a", "@hookimpl\ndef change_request():\n    pass\n")
    install(folder, "b", adding(" x"))
    assert loaded(folder).change_request(REQUEST).prompt == "a x"


@pytest.mark.parametrize("answer", ["'text'", "{'prompt': 'a'}", "0", "False"])
def test_an_answer_that_is_no_request_is_told_with_the_extensions_name(folder, answer):
    install(folder, "odd one", f"@hookimpl\ndef change_request(request):\n    return {answer}\n")
    with pytest.raises(WebuiError, match=r"Extension 'odd one' returned a .* return a GenerationRequest or None"):
        loaded(folder).change_request(REQUEST)


def test_a_request_changed_behind_validation_is_refused_with_the_extensions_name(folder):
    install(folder, "sly", "@hookimpl\ndef change_request(request):\n    return request.model_copy(update={'steps': 10**9})\n")
    with pytest.raises(InvalidRequest, match=r"Extension 'sly' returned an invalid request. steps: got 1000000000"):
        loaded(folder).change_request(REQUEST)


def test_an_extension_that_raises_fails_the_submit_and_is_named(folder, caplog):
    install(folder, "bad", "@hookimpl\ndef change_request(request):\n    1 / 0\n")
    with pytest.raises(WebuiError, match=r"Extension 'bad' failed in change_request: ZeroDivisionError") as raised:
        loaded(folder).change_request(REQUEST)
    assert not isinstance(raised.value, InvalidRequest)
    assert "Traceback" in caplog.text


def test_an_extension_may_refuse_a_request(folder):
    install(
        folder,
        "censor",
        "from webui.core.errors import InvalidRequest\n@hookimpl\ndef change_request(request):\n    raise InvalidRequest('No cats.')\n",
    )
    with pytest.raises(InvalidRequest, match=r"Extension 'censor' refused the request: No cats."):
        loaded(folder).change_request(REQUEST)


# --- the hooks that only tell


@pytest.mark.parametrize(("hook", "argument"), [("image_saved", "picture.id"), ("job_finished", "(job_id, result.seconds)")])
def test_one_that_fails_is_logged_and_disturbs_no_other(folder, tmp_path, caplog, hook, argument):
    names = {"image_saved": "picture", "job_finished": "job_id, result"}[hook]
    note = f"@hookimpl\ndef {hook}({names}):\n    open({str(tmp_path)!r} + '/' + __name__, 'a').write(str({argument}))\n"
    install(folder, "a", note)
    install(folder, "bad", f"@hookimpl\ndef {hook}():\n    raise RuntimeError('oh')\n")
    install(folder, "z", note)
    host = loaded(folder)
    if hook == "image_saved":
        host.picture_saved(picture_in(folder))
    else:
        host.job_finished("job", GenerationResult(REQUEST, (), seconds=2.5))
    expected = "id" if hook == "image_saved" else "('job', 2.5)"
    assert (tmp_path / "webui_extensions.a").read_text() == expected
    assert (tmp_path / "webui_extensions.z").read_text() == expected
    assert f"Extension 'bad' failed in {hook}" in caplog.text
    assert "Traceback" in caplog.text


def test_hook_picture_saved_and_job_finished_may_be_heard_by_nobody(folder):
    host = loaded(folder)
    host.picture_saved(picture_in(folder))
    host.job_finished("job", GenerationResult(REQUEST, ()))
