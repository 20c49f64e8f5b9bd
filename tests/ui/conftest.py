"""The page as a person meets it: a real server with a fake engine, and a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.fake_engine import FakeEngine
from tests.listening import listening
from tests.ui.person import FAST, PATIENCE, Site
from webui.api.server import build_server
from webui.app import App
from webui.core.desktop import Desktop
from webui.core.paths import Paths, standard_paths
from webui.engine.warmup import EngineOptions
from webui.ui.mount import mount_ui

LOCAL = ("data:", "blob:", "about:")
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@contextmanager
def served(app: App) -> Iterator[str]:
    """The app's page on a free port of this machine."""
    server = build_server(app, api=False)
    mount_ui(server, app)
    with listening(server) as port:
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def running(paths: Paths, **options: Any) -> Iterator[Site]:
    """A program on that data folder, from its start to its end; its engine draws at once.  options: of App."""
    engine = FakeEngine(step_seconds=FAST)
    with closing(App(paths, engine=engine, hashing=False, **options)) as app:
        app.start()
        with served(app) as address:
            yield Site(address, app, engine)


@pytest.fixture
def fake_app(tmp_path: Path) -> Iterator[App]:
    """A started app without a model; its engine draws at once."""
    app = App(standard_paths(tmp_path), engine=FakeEngine(), hashing=False)
    app.start()
    yield app
    app.close()


@pytest.fixture(scope="module")
def desktop() -> Desktop:
    """Where a module's server shows folders: nowhere, unless the module has one of its own."""
    return Desktop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, desktop: Desktop) -> Iterator[Site]:
    """One server for a module's tests."""
    with running(standard_paths(tmp_path_factory.mktemp("data")), desktop=desktop) as site:
        yield site


@pytest.fixture(scope="module")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the real engine and all that ships, for modules that take it as their `site`."""
    data = standard_paths(tmp_path_factory.mktemp("data"))
    with closing(App(data, engine_options=EngineOptions(device="cpu"), hashing=False)) as app:
        app.start()
        with served(app) as address:
            yield Site(address, app, FakeEngine())


@pytest.fixture(scope="session", autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """One Chromium for a module's tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One person's browser for a module's tests; it keeps the page's files, so that opening it again is quick."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """The opened page, with nothing remembered and no job under way.

    It must ask no other machine for anything and report no error, whatever the test does.
    """
    site.settle()
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: troubles.append(request.url) if not request.url.startswith((site.address, *LOCAL)) else None)
    site.open(page)
    yield page
    site.settle()
    page.goto(site.address + "robots.txt")  # a page without our script, which would remember the form again
    page.evaluate("localStorage.clear()")
    page.close()
    assert troubles == []
