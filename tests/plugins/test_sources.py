from pathlib import Path

import pytest

from webui.core.errors import InvalidRequest
from webui.core.web import Web
from webui.plugins.install.sources import FolderSource, GitSource, PackageSource, ZipSource, folder_for, read_source

COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("https://example.com/one/two.git", GitSource("https://example.com/one/two.git")),
        (" https://example.com/one/two \n", GitSource("https://example.com/one/two")),
        ("https://example.com/two@dev", GitSource("https://example.com/two", "dev")),
        ("https://example.com/two@feature/x-1", GitSource("https://example.com/two", "feature/x-1")),
        (f"https://example.com/two@{COMMIT}", GitSource("https://example.com/two", COMMIT)),
        ("pypi:some.thing", PackageSource("some.thing")),
        ("pypi:some-thing==1.2", PackageSource("some-thing==1.2")),
    ],
)
def test_addresses_of_repositories_and_names_of_packages_are_sources(text: str, source: object) -> None:
    assert read_source(text, Web()) == source


def test_a_branch_may_be_given_apart() -> None:
    assert read_source("https://example.com/two", Web(), ref="dev") == GitSource("https://example.com/two", "dev")
    with pytest.raises(InvalidRequest, match="given twice"):
        read_source("https://example.com/two@one", Web(), ref="two")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://example.com/two.git",
        "file:///etc",
        "ssh://git@example.com/two",
        "git@example.com:two.git",
        "ext::sh -c touch% /tmp/pwned",
        "--upload-pack=touch /tmp/pwned",
        "-u touch",
        "/etc",
        "../x",
        "https://user:secret@example.com/two",
        "https://example.com:22/two",
        "https://example.com",
        "https://example.com/two?x=1",
        "https://example.com/two#x",
        "https://example.com/two.zip",
        "https://exa mple.com/two",
        "https://example.com/--upload-pack=x y",
        "https://example.com/two@--upload-pack=touch",
        "https://example.com/two@-b",
        "https://example.com/two@a..b",
        "https://example.com/two@a@{1}",
        "https://example.com/two@a:b",
        "https://example.com/two@a.lock",
        "https://example.com/two@/a",
        "https://example.com/two@a/",
        "https://example.com/two@HEAD~1",
        "https://example.com/two@refs/*",
        "pypi:",
        "pypi:-e.",
        "pypi:--index-url=https://evil.example",
        "pypi:x @ https://evil.example/x.whl",
        "pypi:x>=1",
        "pypi:x==1.*",
        "pypi:x[more]",
        "pypi:../x",
        "pypi:x; python_version>'3'",
    ],
)
def test_whatever_else_is_named_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_source(text, Web())


def test_a_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(InvalidRequest) as error:
        read_source("https://user:secret@example.com/two", Web())
    assert "secret" not in str(error.value)


def test_paths_of_this_machine_are_sources_only_where_they_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    (tmp_path / "x.zip").touch()
    assert read_source(str(tmp_path / "plain"), Web(), local=True) == FolderSource(tmp_path / "plain")
    assert read_source(str(tmp_path / "clone"), Web(), local=True, ref="dev") == GitSource(str(tmp_path / "clone"), "dev", local=True)
    assert read_source(str(tmp_path / "x.zip"), Web(), local=True) == ZipSource(tmp_path / "x.zip", "x.zip")
    for name in ("plain", "clone", "x.zip"):
        with pytest.raises(InvalidRequest, match="not fetched from"):
            read_source(str(tmp_path / name), Web())
    with pytest.raises(InvalidRequest, match="a path that exists"):
        read_source(str(tmp_path / "none"), Web(), local=True)
    with pytest.raises(InvalidRequest, match="no git repository"):
        read_source(str(tmp_path / "plain"), Web(), local=True, ref="dev")


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        (GitSource("https://example.com/one/two.git"), "two"),
        (GitSource("https://example.com/one/two/"), "two"),
        (ZipSource(Path("/tmp/upload"), "sd-thing-main.zip"), "sd-thing"),
        (FolderSource(Path("/tmp/some")), "some"),
        (PackageSource("Some.Thing==1"), "some-thing"),
    ],
)
def test_a_folder_is_called_as_its_source_unless_somebody_says_otherwise(source: GitSource, folder: str) -> None:
    assert folder_for(source, "") == folder
    assert folder_for(source, "mine") == "mine"


@pytest.mark.parametrize("name", ["../x", "..", "a/b", ".hidden", "-x", "a\0b"])
def test_no_folder_gets_a_name_that_leads_elsewhere(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be the name"):
        folder_for(FolderSource(Path("/tmp/some")), name)
    with pytest.raises(InvalidRequest, match="cannot be the name"):
        folder_for(ZipSource(Path("/tmp/x"), f"{name}.zip"), "")
