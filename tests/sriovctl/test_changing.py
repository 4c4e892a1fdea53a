"""assign, unassign, reinstate, adopt, count and configure: one call of the plugin each, by names."""

from pathlib import Path
from typing import Any, Callable

import pytest
from box_host import plugin_of_version, set_plugin
from managed_pool import Pool
from moved_vms import commands

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


def test_vm_gets_a_vf_and_gives_it_back(pool: Pool, ctl: Ctl) -> None:
    web = pool.vm("web")
    said = ctl("assign", "web", "--network", "xenbr1", "--vlan", "12", "--on", "host2")
    assert said.status == 0
    assert said.rows[1] == ["web", "1", "host2", "0000:07:10.0", "yes"]
    assert "VM web has VF 0000:07:10.0 of host host2 from its next start." in said.err
    assert pool.entry(web).requests[0].settings["vlan"] == "12"

    back = ctl("unassign", "web", "--all")
    assert back.rows[1] == ["web", "1", "0000:07:10.0"]
    again = ctl("unassign", "web", "--all")
    assert (again.status, again.out) == (0, "")
    assert again.err == "VM web has no requests: nothing to take back.\n"


def test_request_that_becomes_another(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web", vlan="12")
    mac = pool.mac(web)
    said = ctl("assign", "web", "--request", "1", "--network", "xenbr1", "--vlan", "13")
    assert (said.status, said.rows[1][:3]) == (0, ["web", "1", "host1"])
    assert pool.asked(web) == [("network", {"mac": mac, "vlan": "13"})]
    assert ctl("assign", "web", "--request", "2", "--network", "xenbr1").status == 1


def test_host_whose_package_is_older(pool: Pool, ctl: Ctl, tmp_path: Path) -> None:
    """What it does not know yet is no mistake of who asks."""
    older = plugin_of_version(str(tmp_path / "older"), "0.0.9")
    table = tmp_path / "older" / "sriovlib" / "calls" / "table.py"
    known = table.read_text()
    assert "request if_requests" in known
    table.write_text(known.replace("request if_requests", ""))
    set_plugin(pool.one, older)
    web = pool.with_vf("web")
    before = pool.everything()
    said = ctl("assign", "web", "--request", "1", "--network", "xenbr1", "--vlan", "12")
    assert (said.status, pool.everything()) == (1, before)
    assert "assign_vf has no argument `request`" in said.err
    assert "host1 has an older xapi-sriov than this sriovctl: `sriovctl install RPM`" in said.err
    assert pool.asked(web)[0][1].get("vlan") is None


def test_vf_by_its_place(pool: Pool, ctl: Ctl) -> None:
    pool.vm("web")
    assert ctl("assign", "web", "--vf", "host2/eth1:3").rows[1][2:4] == ["host2", "0000:07:10.6"]
    taken = ctl("assign", "web", "--vf", "host1/eth1:9")
    assert taken.status == 1
    assert "host1/eth1 has no VF 9." in taken.err


def test_json_of_what_was_changed_has_the_hosts_uuid(pool: Pool, ctl: Ctl) -> None:
    """Names of hosts need not be unique."""
    pool.vm("web")
    pool.vm("old", pci="0/0000:07:10.6")
    for words in (
        ["assign", "web", "--network", "xenbr1", "--on", "host2"],
        ["reinstate", "web"],
        ["park", "web"],
        ["unpark", "web"],
        ["relocate", "web", "host2", "--start"],
        ["migrate", "web", "host2"],
        ["detach", "web"],
        ["attach", "web"],
        ["adopt", "old", "--on", "host2"],
        ["count", "host2/eth2", "2"],
        ["configure", "host2/eth2:0", "--vlan", "3"],
    ):
        (row,) = ctl(*words, "-o", "json").json
        if words[0] != "detach":  # it says of the VM alone
            assert (row["host"], row["host_uuid"]) == ("host2", pool.other.uuid), words


def test_refusal_of_the_plugin(pool: Pool, ctl: Ctl) -> None:
    """Code, sentence and hint, as it gave them."""
    pool.vm("web")
    refusal = ctl("assign", "web", "--network", "xenbr0")
    assert refusal.status == 1
    assert "(SRIOV_" in refusal.err
    assert refusal.out == ""


def test_a_host_where_a_port_is_wanted(ctl: Ctl) -> None:
    said = ctl("count", "host1", "2")
    assert (said.status, "`host1` is a host, and names no port." in said.err) == (2, True)
    (pfs,) = commands(said.err)
    assert "host1/eth1" in ctl(*pfs).out
    assert "Write it as HOST/eth1." in ctl("count", "eth1", "2").err


def test_calls_in_a_hint_are_named_as_commands_too(pool: Pool, ctl: Ctl) -> None:
    """The hint stays as the plugin gave it."""
    pool.vm("old", pci="0/0000:07:10.6", other_config={"sriovvlans": "0/42"})
    hint, said = ctl("adopt", "old").err.splitlines()[1:3]
    assert "Give the host as host_uuid" in hint
    assert said == "  In sriovctl: host_uuid is `--on HOST`."
    hint, said = ctl("adopt", "old", "--on", "host1").err.splitlines()[1:3]
    assert "call again with trust_keys=true" in hint
    assert said == "  In sriovctl: trust_keys=true is `--trust-keys`."
    assert ctl("conflicts").err.splitlines()[-1] == "In sriovctl: adopt_vm is `sriovctl adopt VM`."
    assert "In sriovctl" not in ctl("park", "nobody").err


def test_vfs_of_a_port(ctl: Ctl) -> None:
    said = ctl("count", "host1/eth2", "2")
    assert said.rows[1] == ["host1/eth2", "0", "2", "no"]
    again = ctl("count", "host1/eth2", "2")
    assert (again.status, "already" in again.err) == (0, True)
    assert "error: host2/eth9: This host has no" in ctl("count", "host2/eth9", "2").err


def test_dry_runs(pool: Pool, ctl: Ctl) -> None:
    """Each says what it would do; what is so already is said as without it."""
    web = pool.vm("web")
    would = ctl("assign", "web", "--network", "xenbr1", "--on", "host2", "--dry-run")
    assert would.rows[1] == ["web", "1", "host2", "0000:07:10.0", "yes"]
    assert "Would give VM web VF 0000:07:10.0 of host host2. Nothing was changed" in would.err
    would = ctl("count", "host1/eth2", "2", "--dry-run")
    assert (would.rows[1], "Would make 2 VFs" in would.err) == (["host1/eth2", "0", "2", "no"], True)
    assert "has 4 VFs already" in ctl("count", "host1/eth1", "4", "--dry-run").err
    assert "Would set vlan=7." in ctl("configure", "host1/eth1:2", "--vlan", "7", "--dry-run").err
    assert pool.call("list_assignments")["vms"] == []
    assert {vf["vlan"] for vf in pool.vfs(pool.one)} == {0}
    assert len(pool.vfs(pool.one)) == 4

    ctl("assign", "web", "--network", "xenbr1", "--on", "host2")
    assert "has these VFs already" in ctl("reinstate", "web", "--dry-run").err
    pool.vm("plain")
    assert ctl("reinstate", "plain").err == "VM plain has no requests.\n"
    would = ctl("unassign", "web", "--all", "--dry-run")
    assert (would.rows[1][1], "Would take request 1 of VM web back." in would.err) == ("1", True)
    assert len(pool.requests(web)) == 1


def test_settings_of_a_vf(pool: Pool, ctl: Ctl) -> None:
    said = ctl("configure", "host1/eth1:2", "--vlan", "7", "--trust", "on")
    assert said.status == 0
    assert pool.call("list_vfs", pool.one)[2]["vlan"] == 7
    nothing = ctl("configure", "host1/eth1:2")
    assert nothing.status == 2


def test_changes_in_dom0(pool: Pool, ctl_of: Ctl) -> None:
    web = pool.vm("web")
    said = ctl_of(pool.other, "assign", "web", "--network", "xenbr1")
    assert (said.status, said.rows[1][:2]) == (0, ["web", "1"])
    copy = pool.clone(web, "copy")
    assert ctl_of(pool.other, "adopt", copy).status == 0
