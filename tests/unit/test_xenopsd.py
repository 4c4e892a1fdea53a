"""What xenopsd's files tell of a VM's devices: they are believed only where they are those that we know."""

from pathlib import Path
from typing import List, Optional

import pytest
from sriovlib import xenopsd
from sriovlib.host import Host

WEB = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("names", "plugs"),
    [
        (["config", "vbd.xvda", "vif.0"], []),
        (["config", "vif.0", "pci.0000:07:10.0"], ["0000:07:10.0"]),
        (["vif.0"], None),  # another layout than the one that we know
        ([], None),
    ],
)
def test_only_what_is_certain_is_said(tmp_path: Path, names: List[str], plugs: Optional[List[str]]) -> None:
    folder = tmp_path / f"var/run/nonpersistent/xenopsd/classic/VM/{WEB}"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}")
    assert xenopsd.devices(Host(str(tmp_path)), WEB) == plugs


def test_a_host_without_such_files(tmp_path: Path) -> None:
    assert xenopsd.devices(Host(str(tmp_path)), WEB) is None


def test_a_vm_without_such_files(tmp_path: Path) -> None:
    (tmp_path / "var/run/nonpersistent/xenopsd/classic/VM").mkdir(parents=True)
    assert xenopsd.devices(Host(str(tmp_path)), WEB) is None
