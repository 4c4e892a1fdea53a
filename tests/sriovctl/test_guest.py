"""`sriovctl guest`: what a VM's guest is told, as a table and as a file."""

import json
from typing import Any, Callable

import pytest
from managed_pool import OTHER_SLOTS, Pool

pytestmark = [pytest.mark.story, OTHER_SLOTS]

Ctl = Callable[..., Any]
VIF_MAC = "5e:00:00:00:00:01"


def test_a_bond_of_vf_and_vif(pool: Pool, ctl: Ctl) -> None:
    web = pool.with_vf("web")
    network = pool.box.xapi.database.get("PIF", pool.box.pif(pool.one, "eth1"), "network")
    pool.box.xapi.database.create(
        "VIF", {"VM": pool.ref(web), "network": network, "device": "0", "MAC": VIF_MAC}
    )
    (row,) = json.loads(ctl("guest", "web", "-o", "json").out)
    assert (row["request"], row["mac"], row["vif_mac"]) == (1, pool.mac(web), VIF_MAC)
    assert (row["position"], row["linux_driver"]) == (1, "ixgbevf")
    told = ctl("guest", "web", "--network-config")
    assert (told.status, told.out) == (0, pool.call("guest_info", vm=web)["cloud_init"])
    assert pool.mac(web) in told.out
    assert VIF_MAC in told.out
    assert "fixed one" in told.err  # the address of a bond


def test_a_vm_with_a_vf_alone_and_one_without(pool: Pool, ctl: Ctl) -> None:
    pool.with_vf("web")
    pool.vm("db")
    told = ctl("guest", "web")
    assert told.status == 0
    assert told.out.splitlines()[1].split()[4] == "-"
    refused = ctl("guest", "db")
    assert (refused.status, refused.out) == (1, "")
    assert "VM db" in refused.err
    assert "`sriovctl assign VM`" in refused.err
