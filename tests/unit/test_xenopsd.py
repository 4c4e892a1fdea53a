"""What xenopsd's files tell of a VM's devices: they are believed only where they are those that we know."""

import json
import os
from typing import Any, List, Optional, Sequence

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.machine import xenopsd
from sriovlib.machine.host import Host

WEB, MAIL = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
VF, MANAGEMENT = "0000:07:10.0", "0000:02:00.0"
RECORD = f"VM/{WEB}/config"
CLASSIC = "/run/nonpersistent/xenopsd/classic"


@pytest.fixture(autouse=True)
def tree(fs: FakeFilesystem) -> FakeFilesystem:
    """dom0's /run, as it is while xenopsd knows a VM of which it says nothing yet."""
    fs.create_symlink("/var/run", "../run")
    fs.create_dir(f"{CLASSIC}/VM")
    return fs


def has(fs: FakeFilesystem, *paths: str, backend: str = CLASSIC) -> None:
    for path in paths:
        fs.create_file(f"{backend}/{path}", contents="{}")


def config(passes_devices: Any, kind: str = "HVM") -> str:
    """The part that concerns us of VM/UUID/config."""
    return json.dumps({"id": WEB, "name": "web", "ty": [kind, {"pci_passthrough": passes_devices}]})


def plugs() -> Optional[List[str]]:
    return xenopsd.devices(Host(), WEB)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            [RECORD, f"VM/{WEB}/vbd.xvda", f"PCI/{WEB}/pci.{VF}", f"PCI/{WEB}/pci.{MANAGEMENT}"],
            [MANAGEMENT, VF],
        ),
        # without devices it has no folder beside that of another VM
        ([RECORD, f"VM/{MAIL}/config", f"PCI/{MAIL}/pci.{VF}"], []),
        # a record that is being written is none yet
        ([RECORD, f"PCI/{WEB}/pci.{VF}", f"PCI/{WEB}/0b5c1e.tmp"], [VF]),
        # no xenopsd keeps devices among the other records; one that did would plug them
        ([RECORD, f"VM/{WEB}/pci.{MANAGEMENT}", f"PCI/{WEB}/pci.{VF}"], [MANAGEMENT, VF]),
        # a record of another kind is not passed over
        ([RECORD, f"PCI/{WEB}/pci.{VF}", f"PCI/{WEB}/pci."], None),
        ([RECORD, f"PCI/{WEB}/pci.{VF}", f"PCI/{WEB}/pci.eth0"], None),
        ([RECORD, f"PCI/{WEB}/pci.{VF}", f"PCI/{WEB}/device.0"], None),
        ([RECORD, f"PCI/{WEB}/pci.{VF}", f"PCI/{WEB}/config"], None),
        # nor is something in the place of a folder
        ([RECORD, f"PCI/{WEB}"], None),
        # of a VM that it does not know nothing is said
        ([], None),
        ([f"VM/{MAIL}/config"], None),
        ([f"VM/{WEB}/vif.0"], None),
        ([f"PCI/{WEB}/pci.{VF}"], None),
    ],
)
def test_what_the_records_tell(fs: FakeFilesystem, files: List[str], expected: Optional[List[str]]) -> None:
    has(fs, *files)
    assert plugs() == expected


def test_where_no_vm_has_devices_its_own_record_says_so(fs: FakeFilesystem) -> None:
    fs.create_file(f"{CLASSIC}/{RECORD}", contents=config(False))
    assert plugs() == []


@pytest.mark.parametrize(
    "contents", ["{}", "", "[]", "[" * 50_000, '{"ty": 1}', '{"ty": ["HVM", {}]}', config("no")]
)
def test_a_xenopsd_that_keeps_devices_elsewhere_tells_nothing(fs: FakeFilesystem, contents: str) -> None:
    """There is no folder PCI, and the VM's own record does not say that it has no devices."""
    fs.create_file(f"{CLASSIC}/{RECORD}", contents=contents)
    assert plugs() is None


@pytest.mark.parametrize("besides", [(), (f"PCI/{MAIL}/pci.{VF}",), (f"VM/{WEB}/vif.0", f"extra/{WEB}")])
def test_a_vm_that_was_detached_has_none(fs: FakeFilesystem, besides: Sequence[str]) -> None:
    """The last file took the folder with it; what its next domain may have was kept."""
    fs.create_file(f"{CLASSIC}/{RECORD}", contents=config(True))
    has(fs, *besides)
    assert plugs() == []
    assert xenopsd.takes_devices(Host(), WEB) is True


@pytest.mark.parametrize("besides", [f"DEVICE/{WEB}/{VF}", f"VM/{WEB}/device.{VF}", f"VM/{WEB}/devices"])
def test_a_vm_that_is_to_have_devices_does_not_pass_for_one_without(fs: FakeFilesystem, besides: str) -> None:
    """Not beside files or folders of which nobody knows what they hold."""
    fs.create_file(f"{CLASSIC}/{RECORD}", contents=config(True))
    has(fs, besides, f"PCI/{MAIL}/pci.{VF}")
    assert plugs() is None


@pytest.mark.parametrize(
    ("contents", "expected"),
    [(config(False), False), (config(True), True), (config(True, "PV"), True), ("{}", None), (None, None)],
)
def test_whether_its_next_domain_takes_devices(
    fs: FakeFilesystem, contents: Optional[str], expected: Optional[bool]
) -> None:
    if contents is not None:
        fs.create_file(f"{CLASSIC}/{RECORD}", contents=contents)
    assert xenopsd.takes_devices(Host(), WEB) is expected


def test_a_pv_guest_whose_key_pci_is_empty_has_none(fs: FakeFilesystem) -> None:
    """xapi goes by the key there, not by what is in it."""
    fs.create_file(f"{CLASSIC}/{RECORD}", contents=config(True, "PV"))
    assert plugs() is None
    has(fs, f"PCI/{MAIL}/pci.{VF}")
    assert plugs() == []


def test_all_backends_are_asked(fs: FakeFilesystem) -> None:
    has(fs, RECORD, f"PCI/{MAIL}/pci.{VF}")
    fs.create_dir("/run/nonpersistent/xenopsd/simulator")
    assert plugs() == []
    has(fs, f"PCI/{WEB}/pci.{VF}", backend="/run/nonpersistent/xenopsd/xenlight")
    assert plugs() == [VF]


@pytest.mark.parametrize("unlistable", [f"PCI/{WEB}", f"VM/{WEB}", "PCI", "../xenlight"])
def test_xenopsd_records_that_cannot_be_listed_are_unknown(
    fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch, unlistable: str
) -> None:
    has(fs, RECORD, f"PCI/{MAIL}/pci.{VF}")
    fs.create_dir(f"{CLASSIC}/PCI/{WEB}")
    fs.create_dir("/run/nonpersistent/xenopsd/xenlight/VM")
    assert plugs() == []
    real, broken = os.listdir, os.path.realpath(f"{CLASSIC}/{unlistable}")

    def listdir(path: str) -> List[str]:
        if os.path.realpath(path).startswith(broken):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert plugs() is None


@pytest.mark.parametrize("link", [True, False])
def test_xenopsd_folder_may_be_a_link(fs: FakeFilesystem, link: bool) -> None:
    fs.remove("/var/run")
    if link:
        fs.create_symlink("/var/run", "/run")
    else:
        fs.rename("/run", "/var/run")
    has(fs, RECORD, f"PCI/{WEB}/pci.{VF}", backend="/var/run/nonpersistent/xenopsd/classic")
    assert plugs() == [VF]


def test_a_host_without_such_files(fs: FakeFilesystem) -> None:
    fs.remove_object("/run/nonpersistent")
    assert plugs() is None
