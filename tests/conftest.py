"""What several folders of tests share: one browser a process, since playwright runs once in each."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium, headless; its sound goes nowhere but keeps time."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A working directory with fake models and protocols/fake.yaml over them; the count of what the fakes have done."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent))
    import storage_world

    return storage_world.make_world(tmp_path, monkeypatch)
