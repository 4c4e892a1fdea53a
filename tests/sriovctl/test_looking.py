"""status, pfs, vfs, vms and conflicts: what a person sees of a pool, and of what does not answer."""

from typing import Any, Callable

import pytest
from box_host import set_plugin
from managed_pool import Pool

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


def test_status_of_each_host(ctl: Ctl) -> None:
    said = ctl("status")
    assert said.status == 0
    assert said.rows == [
        ["NAME", "STATE", "IOMMU", "PCIBACK", "PORTS", "VFS", "DRIFT", "PROBLEMS"],
        ["host1", "ready", "on", "yes", "1/3", "4/4", "0", "0"],
        ["host2", "ready", "on", "yes", "1/3", "4/4", "0", "0"],
    ]
    assert said.err == ""
    assert ctl("status", "host2", "--no-headers").rows == [said.rows[2]]


def test_host_that_is_lost_is_a_row(pool: Pool, ctl: Ctl) -> None:
    pool.box.lose(pool.other)
    said = ctl("status")
    assert said.status == 4
    assert said.rows[2][:2] == ["host2", "no-answer"]
    assert "error: host2: Host host2 is offline." in said.err


def test_host_without_the_plugin(pool: Pool, ctl: Ctl) -> None:
    set_plugin(pool.other, None)
    said = ctl("status")
    assert said.rows[2][:2] == ["host2", "no-plugin"]
    assert "sriovctl install" in said.err


def test_status_in_dom0(pool: Pool, ctl: Ctl, ctl_of: Ctl) -> None:
    """Of the whole pool, by the Unix socket of a member."""
    assert ctl_of(pool.other, "status") == ctl("status")


def test_ports(ctl: Ctl) -> None:
    rows = ctl("pfs", "host1").rows
    assert rows[0] == ["NAME", "NETWORK", "DRIVER", "VFS", "FREE", "LINK", "USE", "PROBLEMS"]
    assert [rows[1][place] for place in (0, 2, 3, 6)] == ["host1/eth0", "igb", "0/7", "management"]
    assert [rows[2][place] for place in (0, 2, 3, 4)] == ["host1/eth1", "ixgbe", "4/63", "4"]


def test_vfs_by_filters(pool: Pool, ctl: Ctl) -> None:
    web = pool.vm("web")
    pool.assign(web, network="xenbr1", on=pool.one)
    assert ctl("vfs", "--free", "-o", "name").out.split() == [
        *(f"host1/eth1:{index}" for index in (1, 2, 3)),
        *(f"host2/eth1:{index}" for index in (0, 1, 2, 3)),
    ]
    taken = ctl("vfs", "--vm", "web", "--port", "host1/eth1")
    assert [row[:4] for row in taken.rows[1:]] == [["host1/eth1:0", "0000:07:10.0", "assigned", "web"]]
    nothing = ctl("vfs", "--state", "in-use")
    assert (nothing.status, nothing.out, nothing.err) == (0, "", "There is no such VF on host1 and host2.\n")
    assert ctl("vfs", "--state", "unknown").err == nothing.err


def test_a_host_that_is_lost_has_not_no_vfs(pool: Pool, ctl: Ctl) -> None:
    pool.box.lose(pool.other)
    for command in ("vfs", "pfs"):
        said = ctl(command, "host2")
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith("error: host2: Host host2 is offline.")
    assert ctl("vfs", "--state", "in-use").err.startswith("There is no such VF on host1.\nerror: host2: ")


def test_vms_and_their_conflicts(pool: Pool, ctl: Ctl) -> None:
    web = pool.vm("web server")
    pool.assign(web, network="xenbr1", vlan="12", on=pool.one)
    rows = ctl("vms").rows
    assert rows[1][:5] == ["web_server", "1", "halted", "host1", "0000:07:10.0"]
    pool.clone(web, "copy")
    found = ctl("conflicts", "copy")
    assert found.rows[1][1] == "COPY"
    assert "adopt_vm" in found.err


def test_of_one_host_vms_are_named_and_the_others_are_not_denied(pool: Pool, ctl: Ctl) -> None:
    pool.with_vf("web")
    pool.vm("old", pci="0/0000:07:10.6")
    pool.vm("db")
    assert [row[:2] for row in ctl("conflicts", "--on", "host2").rows[1:]] == [["old", "ENTRY_NOT_LEASED"]]
    (one,) = ctl("conflicts", "--on", "host2", "-o", "json").json
    assert one["vm_names"] == ["old"]
    assert ctl("vms", "db").err == "VM db has no VFs.\n"
    assert ctl("vms", "web", "--on", "host2").err == "VM web was given no VFs of host host2.\n"
    assert ctl("vms", "--on", "host2").err == "No VM was given VFs of host host2.\n"
    assert ctl("conflicts", "db").err == "Nothing of VM db is in conflict.\n"


def test_json_has_what_the_plugin_gave(pool: Pool, ctl: Ctl) -> None:
    first = ctl("vfs", "host1", "-o", "json").json[0]
    assert {**pool.call("list_vfs")[0], **first} == first
    assert (first["host"], first["host_uuid"]) == ("host1", pool.one.uuid)


def test_names_that_are_not_there(ctl: Ctl) -> None:
    missing = ctl("status", "host7")
    assert missing.status == 1
    assert "There is no host `host7`." in missing.err
    assert "host1 (" in missing.err
    several = ctl("status", "host")
    assert several.status == 1
    assert "may be 2 hosts" in several.err
    column = ctl("status", "--columns", "name,size")
    assert column.status == 2
    assert "There is no column SIZE" in column.err
