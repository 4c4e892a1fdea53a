"""Commands that messages show, pasted as they are, where hosts and VMs share names and have odd ones."""

from pathlib import Path
from typing import Any, Callable

import pytest
from managed_pool import Pool
from moved_vms import commands

pytestmark = [pytest.mark.story, pytest.mark.usefixtures("impatient")]

Ctl = Callable[..., Any]
Write = Callable[[str], str]


@pytest.fixture(params=["twin", "two words; $(reboot)", "-rf"])
def web(pool: Pool, request: pytest.FixtureRequest) -> str:
    """A halted VM with a VF of host1. Another VM has its name, and both hosts have it."""
    web = pool.with_vf("web")
    for vm in (web, pool.vm("other")):
        pool.api("VM.set_name_label", pool.ref(vm), request.param)
    for host in pool.hosts:
        pool.api("host.set_name_label", host.ref, request.param)
    return web


def pasted(ctl: Ctl, said: Any, **words: str) -> Any:
    """What the only command of a message says; `words`: what it leaves open."""
    (command,) = commands(said.err)
    return ctl(*(words.get(word, word) for word in command))


def test_vm_that_runs(pool: Pool, ctl: Ctl, web: str) -> None:
    network = pool.box.xapi.database.get("PIF", pool.box.pif(pool.one, "eth1"), "network")
    pool.box.xapi.database.create("VIF", {"VM": pool.ref(web), "network": network, "device": "0"})
    pool.start(web, pool.one)
    back = pasted(ctl, ctl("detach", web))
    assert (back.status, pool.listed(web)["move"]) == (0, None), back.err
    ways = commands(ctl("explain", web).err)
    assert [words[0] for words in ways] == ["migrate", "relocate"]
    assert ctl(*ways[0]).status == 0
    assert pool.listed(web)["resident_on"] == pool.other.uuid
    assert ctl(*(pool.one.uuid if word == "HOST" else word for word in ways[1]), "--yes").status == 0
    assert pool.listed(web)["resident_on"] == pool.one.uuid


def test_vm_that_is_halted(pool: Pool, ctl: Ctl, web: str) -> None:
    assert pasted(ctl, ctl("park", web)).status == 0
    assert not pool.listed(web)["parked"]
    ctl("park", web)
    there = pasted(ctl, ctl("relocate", web, pool.other.uuid))
    assert (there.status, pool.lease(web)["host"]) == (0, pool.other.uuid), there.err
    pool.unassign(web)
    assert pasted(ctl, ctl("explain", web), NET="xenbr1").status == 0
    pool.unassign(web)
    pool.start(web, pool.one)
    waits = ctl("wait", web, "--for", "running-with-vfs")
    pool.shut_down(web)
    assert pasted(ctl, waits, NET="xenbr1").status == 0
    assert len(pool.requests(web)) == 1


def test_pool_that_was_named(
    pool: Pool, ctl: Ctl, web: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands go there, and not to the pool that goes without saying; so do those of a plan and a
    picture."""
    monkeypatch.setenv("SRIOVCTL_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("SRIOVCTL_PASSWORD", "another")
    secret = tmp_path / "secret"
    secret.write_text(pool.box.xapi.password)
    there = ("--host", pool.box.url, "--password-file", str(secret), "--user", "root")
    assert pasted(ctl, ctl(*there, "park", web)).status == 0
    ctl(*there, "park", web)
    file = write(f"vms: {{{web}: {{vfs: [{{network: xenbr1, vlan: 13}}]}}}}")
    (unpark,) = commands(ctl("apply", file, "--check", *there).out)
    assert (ctl(*unpark).status, pool.listed(web)["parked"]) == (0, False)
    pool.set_pci(web, None)
    (conflicts,) = commands(ctl("map", *there).out)
    assert "LEASE_STALE" in ctl(*conflicts).out


@pytest.mark.usefixtures("web")
def test_hosts_of_one_name(pool: Pool, ctl: Ctl) -> None:
    listed = pasted(ctl, ctl("configure", f"{pool.other.uuid}/eth1:9", "--vlan", "12"))
    assert (listed.status, len(listed.rows)) == (0, 1 + len(pool.vfs(pool.other)))
