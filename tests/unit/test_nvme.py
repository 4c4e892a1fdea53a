"""VFs of NVMe cards, which are there and of no use before they are online."""

from typing import List

import pytest
from answering_host import DEVICES, AnsweringHost, add_pf, vf_address
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.vf import host_inventory

PF = "0000:05:00.0"
LIST = "nvme list-secondary /dev/nvme0"


def card(fs: FakeFilesystem, vfs: int = 2) -> AnsweringHost:
    add_pf(fs, PF, "144d:a824", "nvme", vfs, pci_class="010802")
    fs.create_dir(f"{DEVICES}/{PF}/nvme/nvme0")
    return AnsweringHost()


def listed(*states: int, zero: str = "0x0000") -> str:
    """As nvme-cli prints it."""
    text = (
        f"Identify Secondary Controller List:\n   NUMID  : Number of Identifiers           : {len(states)}\n"
    )
    for number, state in enumerate(states, 1):
        word = "Online" if state else "Offline"
        text += (
            f"   SCEntry[{number - 1:<3}]:\n................\n"
            f"     SCID      : Secondary Controller Identifier : 0x{number:04x}\n"
            "     PCID      : Primary Controller Identifier   : 0x0041\n"
            f"     SCS       : Secondary Controller State      : {'0x0001' if state else zero} ({word})\n"
            f"     VFN       : Virtual Function Number         : 0x{number:04x}\n"
            f"     NVQ       : Num VQ Flex Resources Assigned  : {zero}\n"
        )
    return text


def problems(host: AnsweringHost) -> List[str]:
    found = host_inventory.read(host).to_json()["pfs"][0]["problems"]
    return [f"{problem['message']} {problem['hint']}" for problem in found if problem["code"] == "VF_OFFLINE"]


def test_vfs_that_are_offline_are_named_with_what_brings_them_online(fs: FakeFilesystem) -> None:
    host = card(fs)
    host.said = {LIST: listed(1, 0)}
    (said,) = problems(host)
    assert vf_address(PF, 1) in said
    assert vf_address(PF, 0) not in said
    assert "are offline" in said
    assert said.index("-r 0 -a 8") < said.index("-a 9")
    assert "/dev/nvme0" in said


@pytest.mark.parametrize("zero", ["0x0000", "0000"])  # the second from nvme-cli 2.10 on
def test_vfs_that_are_all_offline(fs: FakeFilesystem, zero: str) -> None:
    host = card(fs)
    host.said = {LIST: listed(0, 0, zero=zero)}
    (said,) = problems(host)
    assert f"{vf_address(PF, 0)}, {vf_address(PF, 1)} are offline" in said


@pytest.mark.parametrize("vfs", [0, 2])
def test_a_card_without_offline_vfs(fs: FakeFilesystem, vfs: int) -> None:
    host = card(fs, vfs)
    host.said = {LIST: listed(*[1] * vfs)}
    assert problems(host) == []


def test_without_nvme_cli_nobody_knows(fs: FakeFilesystem) -> None:
    (said,) = problems(card(fs))
    assert "may be offline" in said


def test_a_controller_that_lives_in_dom0_is_online(fs: FakeFilesystem) -> None:
    host = card(fs, vfs=1)
    fs.create_file(f"{DEVICES}/{vf_address(PF, 0)}/nvme/nvme1/state", contents="live\n")
    assert problems(host) == []
