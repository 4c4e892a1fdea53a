"""A real Chromium without a window. `make pictures` installs it; without it these tests fail."""

import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

HUNG = 300  # seconds: no measure of how fast a machine should be


class Chromium:
    """Each call is a browser of its own, with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium")
        assert program, (
            "there is no chromium here: `make pictures` installs it (Debian: apt-get install chromium)"
        )
        self.command = [
            program,
            "--headless=new",
            "--no-sandbox",  # it refuses to run as root otherwise
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]

    def dom(self, address: str) -> str:
        """The page after its scripts have run."""
        return self._run("--dump-dom", address)

    def screenshot(self, address: str, file: Path, *options: str) -> bytes:
        self._run(f"--screenshot={file}", "--window-size=900,1000", *options, address)
        return file.read_bytes()

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self.command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=HUNG,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def chromium(tmp_path: Path) -> Chromium:
    return Chromium(tmp_path / "profile")


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], str]:
    """Writes a page and gives its address."""

    def written(text: str, name: str = "pool.html") -> str:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file.as_uri()

    return written
