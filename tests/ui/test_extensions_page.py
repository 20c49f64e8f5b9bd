"""The Extensions tab in a real browser: from a real git server, from zip files and from an index; used, turned off, updated and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.plugins.extension_sources import GitServer, Repository, extension_files, make_repository, serving_git, write_files, write_zip
from tests.ui.conftest import running
from tests.ui.person import Site, draw
from webui.core.paths import standard_paths
from webui.core.settings_store import SettingsStore
from webui.plugins.install.installer import Installer

pytestmark = pytest.mark.browser

PANEL = "#extensions_panel"
SAID = f"{PANEL} .extensions-said"
SHEET = ".consent-sheet"
PATIENCE = 120_000


@pytest.fixture(scope="module", autouse=True)
def _patience(context: BrowserContext) -> Iterator[None]:
    """Behind a click there may be git and pip, which a busy machine runs slowly."""
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving_git(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture
def repository(git_server: GitServer, tmp_path: Path) -> Iterator[Repository]:
    """An extension, served under /adding for one test."""
    yield make_repository(git_server.root / "adding", extension_files(word="whiskers"))
    (git_server.root / "adding").rename(tmp_path / "no longer served")


@contextmanager
def visiting(context: BrowserContext, site: Site) -> Iterator[Page]:
    """The opened page, of a program that a test starts itself; it must report no error."""
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    site.open(page)
    yield page
    page.goto(site.address + "robots.txt")
    page.evaluate("localStorage.clear()")
    page.close()
    assert troubles == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, git_server: GitServer) -> Iterator[Site]:
    """One server for these tests, which may ask the git server."""
    with running(standard_paths(tmp_path_factory.mktemp("data")), web=git_server.web) as site:
        yield site


@pytest.fixture(autouse=True)
def _none_installed(site: Site) -> Iterator[None]:
    """No test finds the extensions of another."""
    yield
    for one in site.app.installer.installed():
        site.app.installer.remove(one.folder)
    site.app.change_settings({"extensions_index": ""})


def open_extensions(page: Page) -> None:
    page.get_by_role("tab", name="Extensions", exact=True).click()
    expect(page.get_by_role("button", name="Look at it", exact=True).first).to_be_visible()


def row(page: Page, folder: str) -> Locator:
    return page.locator(f"{PANEL} .extension[data-folder='{folder}']")


def look(page: Page, address: str) -> Locator:
    """Have an address fetched, and wait for its sheet."""
    page.fill("#extensions_source", address)
    page.press("#extensions_source", "Enter")
    sheet = page.locator(SHEET)
    expect(sheet).to_be_visible()
    return sheet


def choose_zip(page: Page, file: Path) -> None:
    page.locator("#extensions_zip").set_input_files(file)


def agree(page: Page, name: str = "Install") -> None:
    page.locator(SHEET).get_by_role("button", name=name, exact=True).click()
    expect(page.locator(SHEET)).to_be_hidden()


def test_an_extension_from_a_repository_is_shown_and_agreed_to_and_does_not_run_yet(
    page: Page, site: Site, git_server: GitServer, repository: Repository
) -> None:
    open_extensions(page)
    sheet = look(page, f"{git_server.address}/adding")
    expect(sheet.locator("h2")).to_have_text("Install Adding 1.0")
    commit = repository.git("rev-parse", "HEAD")
    for text in (commit, "change_request", "extensions/adding", "3 files", "Python 1, JavaScript 1, machine code 0"):
        expect(sheet).to_contain_text(text)
    sheet.locator("summary").click()
    expect(sheet).to_contain_text("javascript/page.js")
    assert not (site.app.paths.extensions / "adding").exists()
    agree(page)
    expect(page.locator(SAID)).to_have_text("Adding is installed.")
    expect(row(page, "adding")).to_contain_text("Runs from the next start on.")
    expect(page.locator(f"{PANEL} .extensions-restart")).to_be_visible()
    page.get_by_role("tab", name="txt2img", exact=True).click()
    assert "whiskers" not in draw(page, "a cat")


def test_after_the_next_start_it_runs_a_broken_one_says_why_and_where_it_is_not_allowed_nothing_is_changed(
    context: BrowserContext, tmp_path: Path, git_server: GitServer, repository: Repository
) -> None:
    paths = standard_paths(tmp_path / "data")
    with closing(Installer(paths.extensions, SettingsStore(paths.config), web=git_server.web)) as installer:
        installer.confirm(installer.prepare(f"{git_server.address}/adding").digest)
    write_files(paths.extensions / "broken", {"extension.py": "raise RuntimeError('no luck')"})
    with running(paths, web=git_server.web, extension_access=False) as site, visiting(context, site) as page:
        assert "a cat whiskers" in draw(page, "a cat")
        open_extensions(page)
        expect(row(page, "broken")).to_contain_text("no luck")
        expect(page.locator(f"{PANEL} .extensions-restart")).to_be_hidden()
        expect(page.locator(f"{PANEL} .extensions-closed")).to_be_visible()
        expect(row(page, "adding").get_by_role("checkbox")).to_be_disabled()
        for name in ("Look at it", "Check for updates", "From a zip file"):
            expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
        expect(row(page, "adding").get_by_role("button", name="Remove")).to_be_disabled()
        expect(page.get_by_role("button", name="Load the index")).to_be_enabled()


def test_a_sheet_that_is_called_off_installs_nothing(page: Page, site: Site, git_server: GitServer, repository: Repository) -> None:
    open_extensions(page)
    look(page, f"{git_server.address}/adding").get_by_role("button", name="Cancel").click()
    expect(page.locator(SHEET)).to_be_hidden()
    expect(page.locator(PANEL)).to_contain_text("No extension is installed.")
    assert site.app.installer.installed() == ()


def test_an_extension_from_a_zip_file_is_turned_off_and_removed(page: Page, site: Site, tmp_path: Path) -> None:
    open_extensions(page)
    choose_zip(page, write_zip(tmp_path / "zipped.zip", extension_files(name="<b>Bold</b>"), folder="zipped-main/"))
    expect(page.locator(f"{SHEET} h2")).to_have_text("Install <b>Bold</b> 1.0")
    agree(page)
    one = row(page, "zipped")
    expect(one.locator("h3")).to_have_text("<b>Bold</b>")
    one.get_by_role("checkbox").uncheck()
    expect(page.locator(SAID)).to_have_text("<b>Bold</b> is off.")
    assert site.app.settings.snapshot().disabled_extensions == ("zipped",)
    expect(page.locator(f"{PANEL} .extensions-restart")).to_be_hidden()
    one.get_by_role("checkbox").check()
    expect(page.locator(SAID)).to_have_text("<b>Bold</b> is on.")
    with page.expect_file_chooser() as chooser:
        one.get_by_role("button", name="Update from a zip file").click()
    chooser.value.set_files(write_zip(tmp_path / "newer.zip", extension_files(name="Bolder", version="2.0")))
    expect(page.locator(f"{SHEET} h2")).to_have_text("Update Bolder 2.0")
    agree(page, "Update")
    expect(one.locator("h3")).to_have_text("Bolder")
    # In one go: the button waits for its second click for only three seconds, which a busy machine may take.
    asked = one.get_by_role("button", name="Remove", exact=True).evaluate(
        "(it) => { it.click(); const asks = it.textContent; it.click(); return asks; }"
    )
    assert asked == "Click again to remove"
    expect(page.locator(SAID)).to_contain_text("extensions/.trash/zipped")
    expect(one).to_have_count(0)
    assert not (site.app.paths.extensions / "zipped").exists()


def test_a_newer_commit_is_found_only_when_asked_and_installed_after_its_own_sheet(
    page: Page, site: Site, git_server: GitServer, repository: Repository
) -> None:
    site.app.installer.confirm(site.app.installer.prepare(f"{git_server.address}/adding").digest)
    repository.commit(extension_files(version="2.0"))
    asked = len(git_server.asked)
    open_extensions(page)
    one = row(page, "adding")
    expect(one).to_contain_text("1.0 · trunk")
    assert len(git_server.asked) == asked
    page.get_by_role("button", name="Check for updates").click()
    expect(page.locator(SAID)).to_have_text("1 can be updated.")
    one.get_by_role("button", name="Update", exact=True).click()
    expect(page.locator(f"{SHEET} h2")).to_have_text("Update Adding 2.0")
    expect(page.locator(SHEET)).to_contain_text("In place of")
    agree(page, "Update")
    expect(one).to_contain_text("2.0 · trunk")
    one.get_by_role("button", name="Update", exact=True).click()
    expect(page.locator(f"{PANEL} .notice[role=alert]")).to_have_text("adding is up to date.")


def test_what_cannot_be_installed_says_why(page: Page, site: Site, tmp_path: Path) -> None:
    open_extensions(page)
    notice = page.locator(f"{PANEL} .notice[role=alert]")
    page.fill("#extensions_source", "file:///etc")
    page.press("#extensions_source", "Enter")
    expect(notice).to_contain_text("not fetched from 'file:///etc'")
    choose_zip(page, write_zip(tmp_path / "evil.zip", {"extension.py": "", "../evil.py": ""}))
    expect(notice).to_contain_text("leads out")
    choose_zip(page, write_zip(tmp_path / "old.zip", extension_files(requirements__txt="numpy<2")))
    expect(notice).to_contain_text("numpy<2 (this program runs on")
    expect(page.locator(SHEET)).to_be_hidden()
    assert site.app.installer.installed() == ()


def test_an_index_is_searched_and_installed_from(page: Page, site: Site, git_server: GitServer, repository: Repository) -> None:
    listed = [
        {"name": "Adding words", "url": f"{git_server.address}/adding", "description": "To prompts", "tags": ["prompting"], "stars": 7},
        {"name": "Other", "url": "https://example.com/other.git", "tags": ["tab", "prompting"]},
        {"name": "Third", "url": "https://example.com/third.git", "tags": ["tab"], "stars": 30},
    ]
    open_extensions(page)
    page.get_by_role("button", name="Load the index").click()
    expect(page.locator(f"{PANEL} .notice[role=alert]")).to_contain_text("No index is set.")
    (site.app.paths.data / "index.json").write_text(json.dumps({"extensions": listed}))
    site.app.change_settings({"extensions_index": "index.json"})
    page.get_by_role("button", name="Load the index").click()
    offered = page.get_by_role("list", name="Available extensions").locator("h3")
    expect(offered).to_have_text(["Adding words", "Other", "Third"])
    page.get_by_label("Order").select_option("most stars first")
    expect(offered).to_have_text(["Third", "Adding words", "Other"])
    page.get_by_label("Order").select_option("as listed")
    page.get_by_role("button", name="tab (2)").click()
    expect(offered).to_have_text(["Other", "Third"])
    page.get_by_role("button", name="prompting (2)").click()
    expect(offered).to_have_text(["Other"])
    page.get_by_role("button", name="tab (2)").click()
    page.get_by_label("Search the index").fill("WORDS")
    expect(offered).to_have_text(["Adding words"])
    entry = page.get_by_role("list", name="Available extensions")
    entry.get_by_role("button", name="Look at it").click()
    expect(page.locator(f"{SHEET} h2")).to_have_text("Install Adding 1.0")
    agree(page)
    expect(row(page, "adding")).to_be_visible()
    expect(entry).to_contain_text("Installed")
    repository.commit(extension_files(version="2.0"))
    page.get_by_role("button", name="Check for updates").click()
    expect(entry).to_contain_text("Installed; newer: ")
    entry.get_by_role("button", name="Update").click()
    expect(page.locator(f"{SHEET} h2")).to_have_text("Update Adding 2.0")
    agree(page, "Update")
    expect(entry.get_by_role("button", name="Update")).to_have_count(0)
