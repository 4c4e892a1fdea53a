"""apply: a pool is made as a file says, a second run changes nothing, and a plan says all of it before."""

import json
import sys
import threading
from typing import Any, Callable, Dict

import pytest
from managed_pool import Pool
from sriovctl.connection import Remote
from terminal_session import Terminal

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
Write = Callable[[str], str]
MAC = "02:16:3e:00:00:05"

FILE = f"""
ports:
  "*/eth1": 6
  host2/eth1: 4
  host1/eth2: 2
vms:
  web:
    host: host1
    vfs:
      - {{network: xenbr1, vlan: 12}}
      - {{pf: host1/eth2, mac: "{MAC}"}}
      - {{vf: "host1/eth1:5"}}
  db:
    vfs: [{{device: "8086:10ED", profile: router}}]
"""


def test_pool_is_made_as_the_file_says(pool: Pool, ctl: Ctl, write: Write) -> None:
    web, db = pool.vm("web"), pool.vm("db")
    other = pool.with_vf("other", on=pool.other)  # stands in no file
    file, before, left = write(FILE), pool.everything(), pool.entry(other)

    check = ctl("apply", file, "--check")
    assert (check.status, pool.everything()) == (4, before)
    assert check.out.splitlines() == [
        "~ host1/eth1: 4 -> 6 VFs",
        "+ host1/eth2: 2 VFs",
        "+ web: VF of network Pool-wide network associated with eth1, vlan=12",
        f"+ web: VF of pf host1/eth2, mac={MAC}",
        "+ web: VF of vf host1/eth1:5",
        "+ db: VF of device 8086:10ED, spoof_check=off, trust=on, vlan=0",
    ]
    assert "Plan: 5 to add, 1 to change, 0 to remove. Nothing was changed." in check.err
    assert ctl("apply", file, "--dry-run").status == 0
    refused = ctl("apply", file, "--no-input")
    assert (refused.status, pool.everything()) == (1, before)

    done = ctl("apply", file, "--yes")
    assert done.status == 0, done.err
    assert "6 of 6 changes were made." in done.err
    assert [(by, settings.get("vlan")) for by, settings in pool.asked(web)] == [
        ("network", "12"),
        ("pf", None),
        ("vf", None),
    ]
    assert pool.asked(web)[1][1]["mac"] == MAC
    assert pool.asked(db)[0][1]["trust"] == "on"
    assert [len(pool.vfs(host)) for host in pool.hosts] == [8, 4]
    assert pool.entry(other) == left

    after = pool.everything()
    again = ctl("apply", file, "--yes")
    assert (again.status, again.out, pool.everything()) == (0, "", after)
    assert "The pool is as the file says." in again.err
    assert ctl("apply", file, "--check").status == 0


def test_vfs_that_are_not_in_the_file_any_more(pool: Pool, ctl: Ctl, write: Write) -> None:
    """Another tag: the same MAC. Fewer VFs: the others stay as they are."""
    web, _db = pool.vm("web"), pool.vm("db")
    assert ctl("apply", write(FILE), "--yes").status == 0
    before = pool.asked(web)
    mac = before[0][1]["mac"]
    file = write("vms: {web: {vfs: [{network: xenbr1, vlan: 13}, {vf: 'host1/eth1:5'}]}, db: {vfs: []}}")
    said = ctl("apply", file, "--yes")
    assert said.status == 0, said.err
    assert f"request 2, VF of pf 0000:07:00.1, mac={MAC}" in said.out
    assert "request 1, VF of network Pool-wide network associated with eth1: vlan 12 -> 13" in said.out
    assert pool.asked(web) == [("network", {"mac": mac, "vlan": "13"}), before[2]]
    assert ctl("apply", file, "--check").status == 0


def test_vfs_of_another_host(pool: Pool, ctl: Ctl, write: Write) -> None:
    web = pool.with_vf("web", vlan="12")
    before = pool.asked(web)
    file = write("vms: {web: {host: host2, vfs: [{network: xenbr1, vlan: 12}]}}")
    said = ctl("apply", file, "--yes")
    assert (said.status, said.out) == (0, "~ web: VFs of host host1 -> host host2\n")
    assert (pool.asked(web), pool.lease(web)["host"]) == (before, pool.other.uuid)
    assert ctl("apply", file, "--check").status == 0


def test_vf_that_is_to_be_made_again(pool: Pool, ctl: Ctl, write: Write) -> None:
    """As after a boot that could not make the VFs: the VM keeps its request, with its MAC."""
    web = pool.vm("web")
    file = write("ports: {host1/eth1: 4}\nvms: {web: {vfs: [{vf: 'host1/eth1:3', vlan: 12}]}}")
    assert ctl("apply", file, "--yes").status == 0
    before = pool.asked(web), pool.lease(web), pool.pci(web)
    pool.call("set_vf_count", pool.one, pf="eth1", count="0", force="true")
    said = ctl("apply", file, "--yes")
    line = "~ web: request 1, VF of vf 0000:07:10.6: -> host1/eth1:3, when that is made\n"
    assert (said.status, said.out) == (0, f"+ host1/eth1: 4 VFs\n{line}")
    assert (pool.asked(web), pool.lease(web), pool.pci(web)) == before
    assert ctl("apply", file, "--check").status == 0


def test_port_names_the_host_too(pool: Pool, ctl: Ctl, write: Write) -> None:
    """The same address on another host is another VF."""
    web = pool.with_vf("web", pf="eth1")
    pool.reinstate(web, on=pool.other)
    file = write("vms: {web: {vfs: [{pf: host1/eth1}]}}")
    assert ctl("apply", file, "--yes").out == "~ web: VFs of host host2 -> host host1\n"
    assert pool.lease(web)["host"] == pool.one.uuid
    db = pool.vm("db", affinity=pool.other.ref)
    text = "vms: {db: {vfs: [{network: xenbr1}, {pf: host1/eth1}]}}"
    assert (ctl("apply", write(text), "--yes").status, pool.lease(db)["host"]) == (0, pool.one.uuid)


def test_network_with_a_vlan_implies_it(pool: Pool, ctl: Ctl, write: Write) -> None:
    pool.vm("web")
    for host in pool.hosts:
        pool.box.add_vlan(host, "eth1", 42, "storage")
    file = write("vms: {web: {vfs: [{network: storage}]}}")
    assert ctl("apply", file, "--yes").out == "+ web: VF of network storage, vlan=42\n"
    assert ctl("apply", file, "--check").status == 0


def test_running_vm_waits(pool: Pool, ctl: Ctl, write: Write) -> None:
    """Everything else is made; the status says that not all was."""
    web = pool.with_vf("web")
    pool.start(web, pool.one)
    pool.vm("db")
    file = write("vms: {web: {vfs: []}, db: {vfs: [{network: xenbr1}]}}")
    assert "  ! VM web is running: shut it down first.\n" in ctl("apply", file, "--dry-run").out
    said = ctl("apply", file, "--yes", "-o", "json")
    assert said.status == 4
    assert [(one["name"], one["action"], one["result"]) for one in said.json] == [
        ("web", "remove", "failed"),
        ("db", "add", "done"),
    ]
    assert (said.json[0]["blocked"], said.json[0]["error"]["code"]) == (
        "VM web is running: shut it down first.",
        "BLOCKED",
    )


def test_parked_vm_is_not_woken(pool: Pool, ctl: Ctl, write: Write) -> None:
    web = pool.with_vf("web")
    pool.call("park_vm", vm=web)
    assert ctl("apply", write("vms: {web: {vfs: [{network: xenbr1}]}}"), "--check").status == 0
    more = ctl("apply", write("vms: {web: {vfs: [{network: xenbr1}, {pf: host1/eth1}]}}"), "--yes")
    assert (more.status, "sriovctl unpark" in more.err, pool.listed(web)["parked"]) == (1, True, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vms:\n  nobody: {vfs: []}", ":2: vms.nobody: there is no VM `nobody`."),
        ("vms:\n  we: {vfs: []}", ":2: vms.we: there is no VM `we`."),  # no beginnings in a file
        ("vms:\n  web: {vfs: [{network: lan}]}", ":2: vms.web.vfs[0]: there is no network `lan`."),
        ("ports:\n  host9/eth1: 1", ":2: ports.host9/eth1: there is no host `host9`."),
        ("ports:\n  host1/eth9: 1", ":2: ports.host1/eth9: host host1 has no SR-IOV capable port `eth9`."),
        ("ports:\n  rack*/eth1: 1", ":2: ports.rack*/eth1: no host is called like `rack*`."),
        ("ports:\n  '*/eth9': 1", ":2: ports.*/eth9: no SR-IOV capable port `eth9` is on host1 and host2."),
        ("ports:\n  host1/eth1: 1\n  'host1/0000:07:00.0': 2", "has a number of VFs at"),
        ("vms:\n  web: {vfs: [{pf: eth1}]}", "does not say of which host"),
        ("vms:\n  web: {host: host2, vfs: [{pf: host1/eth1}]}", "is not on host host2"),
        ("vms:\n  web: {vfs: [{pf: host1/eth1}, {pf: host2/eth1}]}", "all VFs of a VM are of one host"),
        ("vms:\n  web: {vfs: [{vf: 'host1/eth1:9'}]}", ":2: vms.web.vfs[0]: host1/eth1 has no VF 9."),
    ],
)
def test_names_that_mean_nothing_here(pool: Pool, ctl: Ctl, write: Write, text: str, said: str) -> None:
    pool.vm("web")
    before = pool.everything()
    refused = ctl("apply", write(text), "--yes")
    assert (refused.status, pool.everything()) == (1, before)
    assert said in refused.err, refused.err


def test_pattern_of_ports_that_a_lost_host_may_have(pool: Pool, ctl: Ctl, write: Write) -> None:
    pool.box.lose(pool.other)
    said = ctl("apply", write("ports: {'*/eth9': 1}"), "--yes")
    assert (said.status, "no SR-IOV capable port" in said.err) == (4, False), said.err


def test_wrong_file(ctl: Ctl, write: Write) -> None:
    said = ctl("apply", write("ports: {eth1: x}\nvm: {}"))
    assert said.status == 2
    assert said.err.count("error: ") == 2
    missing = ctl("apply", "/nowhere.yaml")
    assert (missing.status, "No such file" in missing.err) == (2, True)


def test_ports_that_hosts_would_refuse(pool: Pool, ctl: Ctl, write: Write) -> None:
    """Seen in the plan already; but VFs that are given back first are in nobody's way."""
    pool.with_vf("web")
    file = write("ports: {host1/eth0: 2, host1/eth1: 3}\nvms: {web: {vfs: [{network: xenbr1}]}}")
    said = ctl("apply", file, "--dry-run")
    in_use, management = [text for text in said.out.splitlines() if "!" in text]
    assert "management" in management
    assert "web" in in_use
    assert "`unassign_vf`" in in_use
    assert "In sriovctl: unassign_vf is `sriovctl unassign VM`" in said.err
    file = write("ports: {host1/eth1: 3}\nvms: {web: {vfs: []}}")
    assert "!" not in ctl("apply", file, "--dry-run").out
    assert ctl("apply", file, "--yes").status == 0


def test_ports_of_all_hosts_at_once(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call waits until the other host has been asked too."""
    real, both = Remote.call, threading.Barrier(2)

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "set_vf_count" in params and "dry_run" not in params[-1]:
            both.wait(60)
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    assert ctl("apply", write('ports: {"*/eth1": 5}'), "--yes").status == 0
    assert [len(pool.vfs(host)) for host in pool.hosts] == [5, 5]


@pytest.mark.usefixtures("ctl")
def test_at_a_terminal(pool: Pool, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan in colours, a question, and nothing without a yes."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    web, file = pool.vm("web"), write("vms: {web: {vfs: [{network: xenbr1}]}}")
    for answer, status, requests in (("", 1, 0), ("y", 0, 1)):
        with Terminal(["apply", file]) as terminal:
            shown = terminal.until("Plan: 1 to add, 0 to change, 0 to remove. Go on? [y/N] ")
            assert "\x1b[32m+ web: VF of network" in shown
            terminal.type(f"{answer}\n")
            assert (terminal.end(), len(pool.asked(web))) == (status, requests)


def test_plan_in_json(pool: Pool, ctl: Ctl, write: Write) -> None:
    """The keys that scripts rely on."""
    web = pool.vm("web")
    file = write("ports: {host1/eth1: 5}\nvms: {web: {vfs: [{network: xenbr1, vlan: 12}]}}")
    port, vf = ctl("apply", file, "--dry-run", "-o", "json").json
    whole: Dict[str, Any] = {"vm_uuid": None, "request": None, "blocked": None, "result": None, "error": None}
    assert port == {
        **whole,
        "action": "change",
        "kind": "port",
        "name": "host1/eth1",
        "before": {"count": 4, "configured": 4},
        "after": {"count": 5, "configured": 5},
        "change": "~ host1/eth1: 4 -> 5 VFs",
    }
    network = "Pool-wide network associated with eth1"
    assert (vf["action"], vf["kind"], vf["name"], vf["vm_uuid"]) == ("add", "vf", "web", web)
    assert vf["after"] == {"by": "network", "value": network, "settings": {"vlan": "12"}}
    done = ctl("apply", file, "--yes", "-o", "json")
    assert [one["result"] for one in done.json] == ["done", "done"]
    assert ctl("apply", file, "--yes", "-o", "json").json == []


def test_in_dom0(pool: Pool, ctl_of: Ctl, write: Write) -> None:
    """JSON, as dom0 has no PyYAML."""
    web = pool.vm("web")
    file = write(json.dumps({"vms": {"web": {"vfs": [{"network": "xenbr1"}]}}}))
    said = ctl_of(pool.other, "apply", file, "--yes")
    assert (said.status, len(pool.asked(web))) == (0, 1), said.err


def test_hosts_of_one_name(pool: Pool, ctl: Ctl, write: Write) -> None:
    """xapi lets two hosts have the same name-label: the UUID says which is meant, for ports and for VMs."""
    web = pool.with_vf("web", on=pool.one)
    for host in pool.hosts:
        pool.box.xapi.database.set("host", host.ref, "name_label", "twin")
    uuid = pool.other.uuid
    file = write(
        f"ports:\n  {uuid}/eth1: 6\nvms:\n  web:\n    host: {uuid}\n    vfs: [{{network: xenbr1}}]\n"
    )
    done = ctl("apply", file, "--yes")
    assert done.status == 0, done.err
    assert [len(pool.vfs(host)) for host in pool.hosts] == [4, 6]
    assert pool.lease(web)["host"] == uuid
    assert ctl("apply", file, "--check").status == 0


def test_names_that_would_forge_a_line_of_the_plan(pool: Pool, ctl: Ctl, write: Write) -> None:
    """Who names a VM may be less than who runs this: a name is one line, without what a terminal obeys."""
    vm = pool.with_vf("web\n- host1/eth1: its 4 VFs\x9b2J")
    said = ctl("apply", write(f"vms: {{{vm}: {{vfs: []}}}}"), "--yes")
    assert said.status == 0, said.err
    assert [line[:5] for line in said.out.splitlines()] == ["- web"]
    assert "\x9b" not in said.out + said.err
    assert not any(line.startswith("- host1") for line in said.err.splitlines())


def test_file_of_a_windows_editor(ctl: Ctl, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with a mark, and JSON needs no YAML."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "pool.json"
    file.write_bytes(b'\xef\xbb\xbf{"ports": {\r\n"*/eth1": 4}}')
    assert "as the file says" in ctl("apply", str(file), "--check").err
