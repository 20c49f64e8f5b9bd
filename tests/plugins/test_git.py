import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins.extension_sources import GitServer, Repository, make_repository
from webui.core.errors import Closing, InvalidRequest
from webui.core.web import LocalAddress, Web
from webui.plugins.install.git import Fetched, Git
from webui.plugins.install.processes import Limits
from webui.plugins.install.sources import GitSource

Fetcher = Callable[..., Fetched]


@pytest.fixture
def fetch(tmp_path: Path, git_server: GitServer) -> Fetcher:
    def fetch(source: GitSource, *, web: Web | None = None, **limits: object) -> Fetched:
        place = tmp_path / f"place{time.monotonic_ns()}"
        place.mkdir()
        given = {"seconds": 60.0, "stop": threading.Event(), "folder": place, **limits}
        return Git(source, web or git_server.web, Limits(**given)).fetch(place.with_suffix(".out"))  # type: ignore[arg-type]

    return fetch


@pytest.fixture
def address(git_server: GitServer, repository: Repository) -> str:
    return f"{git_server.address}/adding"


def paths(fetched: Fetched) -> list[str]:
    return [file.path for file in fetched.unpacked.files]


def test_the_repositorys_own_branch_is_fetched_and_its_commit_told(fetch: Fetcher, repository: Repository, address: str) -> None:
    fetched = fetch(GitSource(address))
    assert (fetched.commit, fetched.branch) == (repository.git("rev-parse", "HEAD"), "trunk")
    assert fetched.date == int(repository.git("log", "-1", "--format=%ct"))
    assert paths(fetched) == ["extension.py", "extension.toml", "javascript/page.js"]


def test_a_branch_a_tag_and_a_commit_can_be_asked_for(fetch: Fetcher, repository: Repository, address: str) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", "v1", "-m", "one")
    repository.git("checkout", "--quiet", "-b", "feature/x")
    branched = repository.commit({"b.py": ""})
    repository.git("checkout", "--quiet", "trunk")
    repository.commit({"c.py": ""})
    asked = {ref: fetch(GitSource(address, ref)) for ref in ("v1", "feature/x", first, branched)}
    assert [one.commit for one in asked.values()] == [first, branched, first, branched]
    assert "b.py" in paths(asked["feature/x"])
    assert "b.py" not in paths(asked["v1"])


def test_what_is_not_there_is_told(fetch: Fetcher, repository: Repository, git_server: GitServer, address: str) -> None:
    with pytest.raises(InvalidRequest, match="no branch and no tag 'nope'"):
        fetch(GitSource(address, "nope"))
    for number in ("0" * 40, repository.git("rev-parse", "HEAD:extension.py")):
        with pytest.raises(InvalidRequest, match=f"no commit {number}|cannot be fetched"):
            fetch(GitSource(address, number))
    with pytest.raises(InvalidRequest, match="cannot be fetched"):
        fetch(GitSource(f"{git_server.address}/none"))
    with pytest.raises(InvalidRequest, match=r"no host 'other\.example'|own network"):
        fetch(GitSource("https://other.example/x"))


def test_hooks_filters_and_attributes_of_a_repository_are_not_heeded(
    fetch: Fetcher, repository: Repository, address: str, tmp_path: Path
) -> None:
    pwned = tmp_path / "pwned"
    hook = f"#!/bin/sh\ntouch {pwned}\n"
    for name in ("post-checkout", "post-merge", "pre-auto-gc", "reference-transaction"):
        (repository.folder / ".git" / "hooks" / name).write_text(hook)
    attributes = "*.txt filter=evil eol=crlf\n* export-ignore\n*.id ident export-subst\n"
    stored = {".gitattributes": attributes, "a.txt": "one\ntwo\n", "b.id": "$Id$ $Format:%H$", ".githooks/post-checkout": hook}
    repository.commit(stored)
    for name in ("post-checkout", "post-merge", "pre-auto-gc", "reference-transaction"):
        (repository.folder / ".git" / "hooks" / name).chmod(0o755)
    repository.git("config", "filter.evil.smudge", f"touch {pwned}")
    place = fetch(GitSource(address))
    local = fetch(GitSource(str(repository.folder), local=True))
    assert not pwned.exists()
    assert place.unpacked.files == local.unpacked.files
    sizes = {file.path: file.size for file in place.unpacked.files}
    assert {name: sizes[name] for name in stored} == {name: len(text) for name, text in stored.items()}


def test_links_in_a_repository_are_refused_and_submodules_only_named(
    fetch: Fetcher, repository: Repository, address: str, tmp_path: Path
) -> None:
    other = make_repository(tmp_path / "other", {"x": ""})
    repository.git("submodule", "add", "--quiet", str(other.folder), "sub")
    repository.commit({})
    fetched = fetch(GitSource(address))
    assert fetched.submodules == ("sub",)
    assert not any(path.startswith("sub") for path in paths(fetched))
    (repository.folder / "link").symlink_to("/etc/passwd")
    repository.commit({})
    with pytest.raises(InvalidRequest, match="'link' is a link"):
        fetch(GitSource(address))


def test_a_path_in_a_repository_cannot_lead_out(fetch: Fetcher, repository: Repository, address: str, tmp_path: Path) -> None:
    blob = repository.git("rev-parse", "HEAD:extension.py")
    for name in ("..", ".git", ".site-packages"):
        inner = write_tree(repository, f"100644 blob {blob}\tevil.py\n")
        outer = write_tree(repository, f"040000 tree {inner}\t{name}\n")
        commit = repository.git("commit-tree", outer, "-m", "evil")
        repository.git("update-ref", "refs/heads/evil", commit)
        with pytest.raises(InvalidRequest):
            fetch(GitSource(address, "evil"))
        with pytest.raises(InvalidRequest):
            fetch(GitSource(str(repository.folder), "evil", local=True))
    assert not list(tmp_path.rglob("evil.py"))


def write_tree(repository: Repository, listing: str) -> str:
    """git mktree refuses such names, so the object is written as it is."""
    mode, _, blob, name = listing.replace("\t", " ").split()
    raw = f"{mode.lstrip('0')} {name}".encode() + b"\0" + bytes.fromhex(blob)
    file = repository.folder.parent / "tree"
    file.write_bytes(raw)
    return repository.git("hash-object", "-t", "tree", "-w", "--literally", str(file))


def test_local_repositories_are_not_reached_unless_they_were_named_as_such(fetch: Fetcher, repository: Repository) -> None:
    for url in (str(repository.folder), f"file://{repository.folder}"):
        with pytest.raises(InvalidRequest):
            fetch(GitSource(url))


@pytest.mark.parametrize("url", ["ext::sh -c 'touch {pwned}'", "--upload-pack=touch {pwned}", "-u"])
def test_even_an_unchecked_address_runs_nothing(fetch: Fetcher, repository: Repository, tmp_path: Path, url: str) -> None:
    pwned = tmp_path / "pwned"
    for local in (False, True):
        with pytest.raises(InvalidRequest):
            fetch(GitSource(url.format(pwned=pwned), local=local))
    assert not pwned.exists()


def test_an_address_on_our_own_network_is_not_asked(fetch: Fetcher, git_server: GitServer) -> None:
    with pytest.raises(LocalAddress):
        fetch(GitSource(f"http://local.example:{git_server.port}/adding"))
    with pytest.raises(LocalAddress):
        fetch(GitSource(f"https://127.0.0.1:{git_server.port}/adding"), web=Web(ports=None))
    assert git_server.asked == []


def test_git_goes_to_the_address_that_was_judged(fetch: Fetcher, repository: Repository, git_server: GitServer) -> None:
    """The name has no address but the one that was judged; that git got there shows that it asked nobody else."""
    fetch(GitSource(f"{git_server.address}/adding"))
    assert git_server.asked


def test_the_users_own_configuration_is_not_heeded(
    fetch: Fetcher, repository: Repository, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[url "http://127.0.0.1:1/"]\n\tinsteadOf = http://git.example\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert paths(fetch(GitSource(address)))


def test_fetching_ends_when_the_program_does_or_time_or_room_is_over(fetch: Fetcher, repository: Repository, address: str) -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Closing):
        fetch(GitSource(address), stop=stopped)
    with pytest.raises(InvalidRequest, match="longer than 0 seconds"):
        fetch(GitSource(address), seconds=0.0)


@pytest.mark.skipif(os.name == "nt", reason="the file system there takes no such names")
def test_a_file_name_that_is_no_text_is_refused(fetch: Fetcher, repository: Repository, address: str) -> None:
    Path(os.fsdecode(os.fsencode(repository.folder) + b"/\xff.py")).touch()
    repository.commit({})
    with pytest.raises(InvalidRequest, match="no name of a file"):
        fetch(GitSource(address))
