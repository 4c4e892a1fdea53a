"""Ctrl-C while sriovctl is still being loaded."""

import sys
from typing import Any

import pytest
from sriovctl import start


class Interrupted:
    """Finds no module; at sriovctl's own the user presses Ctrl-C."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "sriovctl.main":
            raise KeyboardInterrupt


def test_interrupted_while_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sriovctl.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert start.main() == start.INTERRUPTED
