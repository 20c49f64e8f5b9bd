from __future__ import annotations

import pytest

from webui.flags import UNNEEDED, Flags, parse_flags


def read(line: str = "", **environ: str) -> Flags:
    return parse_flags(line.split(), environ)


def refusal(capsys: pytest.CaptureFixture[str], line: str, **environ: str) -> str:
    """The one sentence with which a command line is refused."""
    with pytest.raises(SystemExit) as caught:
        read(line, **environ)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_no_flag_gives_the_defaults() -> None:
    assert read() == Flags()


def test_a_commandline_args_variable_is_read_after_the_flags_and_split_as_a_shell_does() -> None:
    flags = read("--port 1", COMMANDLINE_ARGS="--port 2 --ckpt 'my model.safetensors' --api")
    assert (flags.port, flags.ckpt, flags.api) == (2, "my model.safetensors", True)


def test_an_unclosed_quote_in_commandline_args_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "COMMANDLINE_ARGS" in refusal(capsys, "", COMMANDLINE_ARGS="--ckpt 'x")


@pytest.mark.parametrize("name", ["ckpt_dir", "vae_dir", "lora_dir", "hypernetwork_dir", "embeddings_dir"])
def test_a_folder_flag_may_be_given_more_than_once(name: str) -> None:
    flag = "--" + name.replace("_", "-")
    assert getattr(read(f"{flag} a {flag} b"), name) == ("a", "b")


def test_use_cpu_takes_a_list_in_any_case() -> None:
    assert read("--use-cpu All SD --use-cpu x").use_cpu == ("all", "sd", "x")


@pytest.mark.parametrize("spelling", ["--safe-mode", "--disable-all-extensions", "--disable-extra-extensions"])
def test_safe_mode_has_a1111s_names_too(spelling: str) -> None:
    assert read(spelling).disable_all_extensions


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("--prot", "--port"), ("--no-halff", "--no-half"), ("--xformer", "--xformers"), ("--API", "--api")]
)
def test_an_unknown_flag_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str], wrong: str, nearest: str) -> None:
    said = refusal(capsys, wrong)
    assert repr(wrong) in said
    assert repr(nearest) in said


def test_a_flag_cannot_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'--list'" in refusal(capsys, "--list")


def test_an_unknown_flags_value_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "secret" not in refusal(capsys, "--gradio-aut=me:secret")


@pytest.mark.parametrize("line", ["--port x", "--port 65536", "--port -1", "--theme blue", "--precision quarter", "stray"])
def test_a_wrong_value_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert "--help" in refusal(capsys, line)


def test_unknown_flags_pass_when_their_errors_are_to_be_ignored() -> None:
    flags = read("--mystery 3 --api", IGNORE_CMD_ARGS_ERRORS="1")
    assert flags.api
    assert flags.ignored == ("--mystery", "3")


@pytest.mark.parametrize("name", UNNEEDED)
def test_a_flag_only_a1111_needs_is_accepted_with_its_values_and_remembered(name: str) -> None:
    values = ["7"] * UNNEEDED[name]
    flags = parse_flags([name, *values, "--api"], {})
    assert flags.api
    assert flags.unneeded == (name,)


def test_an_unneeded_flags_value_may_be_joined_to_it() -> None:
    assert read("--max-batch-count=4 --api").api


def test_the_values_are_shown_under_a1111s_names_with_secrets_hidden() -> None:
    flags = read("--gradio-auth me:secret --api-auth you:hidden --ckpt-dir a --lora-dir b --lora-dir c --use-cpu all --no-half")
    shown = flags.as_dict()
    assert "secret" not in str(shown)
    assert "hidden" not in str(shown)
    assert (shown["gradio_auth"], shown["api_auth"]) == ("***", "***")
    assert (shown["ckpt_dir"], shown["lora_dir"], shown["vae_dir"]) == ("a", ["b", "c"], None)
    assert (shown["use_cpu"], shown["no_half"], shown["port"]) == (["all"], True, None)
    assert flags.as_dict(redact=False)["gradio_auth"] == "me:secret"


def test_secrets_that_are_not_set_are_shown_as_none() -> None:
    assert read().as_dict()["api_auth"] is None


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert [name for name in Flags().as_dict() if "--" + name.replace("_", "-") not in text] == []
