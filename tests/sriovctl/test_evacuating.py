"""evacuate: a host is emptied, of VMs with VFs too; what cannot leave is named before anything is touched."""

import signal
from typing import Any, Callable, List

import pytest
from as_program import begun
from checks import until
from live_moves import qemu
from managed_pool import Pool
from moved_vms import SHUTDOWN, begins_late
from setup_stories import in_service
from sriovctl import evacuation
from sriovctl.connection import Remote
from sriovctl.errors import Unreachable, XapiFailed
from sriovlib.pool import ledger

pytestmark = [pytest.mark.story, pytest.mark.usefixtures("impatient")]

Ctl = Callable[..., Any]


def beside(pool: Pool, vm: str) -> None:
    """The VM gets a VIF in the network of its VF."""
    network = pool.box.xapi.database.get("PIF", pool.box.pif(pool.one, "eth1"), "network")
    values = {"VM": pool.ref(vm), "network": network, "device": "0", "currently_attached": True}
    pool.box.xapi.database.create("VIF", values)


@pytest.fixture
def web(pool: Pool) -> str:
    """It runs on host1 with a VF, and with a VIF in the same network; beside it a VM without VFs."""
    web = pool.with_vf("web", network=pool.network("eth1"), on=pool.one)
    beside(pool, web)
    pool.start(web, pool.one)
    pool.start(pool.vm("db"), pool.one)
    return web


def where(pool: Pool, vm: str) -> Any:
    record = pool.record(vm)
    devices = pool.devices(vm) if record["power_state"] == "Running" else []
    return record["power_state"], record["resident_on"], len(devices), pool.listed(vm)["move"]


def guests(pool: Pool) -> Any:
    found = pool.box.xapi.database.find("VM", resident_on=pool.one.ref, is_control_domain=False)
    return sorted(pool.box.xapi.database.get("VM", ref, "name_label") for ref in found)


def test_host_is_emptied(pool: Pool, ctl: Ctl, web: str) -> None:
    before = pool.everything()
    words, mac = ["evacuate", "host1", "--unconfirmed"], pool.mac(web)
    for plan in (ctl(*words, "--plan"), ctl(*words, "--dry-run")):
        assert plan.status == 0, plan.err
        assert [row[:4] for row in plan.rows[1:]] == [
            ["db", "evacuate", "host1", "another"],
            ["web", "migrate", "host1", "host2"],
        ]
        assert "1 VM is moved with VFs by migrate_vm; 1 VM is moved by xapi" in plan.err
        assert pool.everything() == before
    said = ctl(*words, "--yes")
    assert said.status == 0, said.err
    assert (guests(pool), in_service(pool, pool.one)) == ([], False)
    assert (where(pool, web), pool.mac(web)) == (("Running", pool.other.ref, 1, None), mac)
    assert f"Host host1 is empty, and takes no VMs until `xe host-enable uuid={pool.one.uuid}`, " in said.err
    again = ctl(*words, "--yes")
    assert (again.status, "is empty and disabled already" in again.err) == (0, True)


def test_nothing_is_touched_while_a_vm_cannot_leave(pool: Pool, ctl: Ctl, web: str) -> None:
    old = pool.vm("old", pci="0/0000:07:10.6")
    pool.start(old, pool.one)
    before = pool.everything()
    for words in ([], ["--yes"], ["--plan"]):
        said = ctl("evacuate", "host1", *words)
        assert said.status == 1
        assert [row[:2] for row in said.rows[1:]] == [["db", "evacuate"], ["old", "stays"], ["web", "stays"]]
        assert "VM web cannot leave host host1 as the pool is now: Host host1 runs XCP-ng 8.3.0" in said.err
        assert "unconfirmed=true is `--unconfirmed`" in said.err
        assert f"(`xe vm-shutdown uuid={web}`), or add --relocate, which starts it on host host2" in said.err
        assert "VM old cannot leave host host1 as the pool is now: " in said.err
        assert f"`sriovctl adopt {old}`, while it is halted" in said.err
        assert "Nothing was changed: 2 VMs stay on host host1." in said.err
    assert pool.everything() == before
    assert in_service(pool, pool.one)


def test_vm_that_cannot_be_moved_is_shut_down_where_that_is_allowed(pool: Pool, ctl: Ctl, web: str) -> None:
    """Each VM as it can."""
    mail = pool.with_vf("mail", on=pool.one)
    pool.start(mail, pool.one)
    words = ["evacuate", "host1", "--relocate", "--unconfirmed"]
    plan = ctl(*words, "--plan", "-o", "json").json
    assert [(row["vm_name"], row["action"], row["after"]) for row in plan] == [
        ("db", "evacuate", "another"),
        ("mail", "relocate", "host2"),
        ("web", "migrate", "host2"),
    ]
    assert "no attached VIF" in plan[1]["why"]
    said = ctl(*words, "--yes")
    assert said.status == 0, said.err
    assert guests(pool) == []
    assert [where(pool, vm) for vm in (web, mail)] == [("Running", pool.other.ref, 1, None)] * 2


def test_vm_without_another_host_that_has_vfs(pool: Pool, ctl: Ctl, web: str) -> None:
    for vf in pool.vfs(pool.other, state="free"):
        pool.assign(pool.vm("other"), vf=vf["address"], on=pool.other)
    for words in ([], ["--relocate"]):
        said = ctl("evacuate", "host1", "--unconfirmed", *words, "--yes")
        assert said.status == 1
        assert "VM web cannot leave host host1 as the pool is now: Host host2 has no free VF" in said.err
        assert "--relocate" not in said.err  # which would not help
    pool.api("host.disable", pool.other.ref)
    said = ctl("evacuate", "host1", "--unconfirmed").err
    assert said.count("no other host takes VMs (host host2 is disabled)") == 2  # db, web
    assert said.count(f"`xe host-enable uuid={pool.other.uuid}`") == 2
    pool.box.lose(pool.other)
    pool.box.xapi.notice_dead(pool.other.ref)
    said = ctl("evacuate", "host1", "--unconfirmed").err
    assert said.count("no other host takes VMs (host host2 is offline)") == 2
    assert "Enable" not in said
    assert where(pool, web)[:3] == ("Running", pool.one.ref, 1)


def test_vm_that_stays_at_last_keeps_its_host_in_service(pool: Pool, ctl: Ctl, web: str) -> None:
    """Its guest does not let the VF go: the plan cannot know that."""
    mail = pool.with_vf("mail", network=pool.network("eth1"), on=pool.one)
    beside(pool, mail)
    pool.start(mail, pool.one)
    qemu(mail, pool.one).keeps = True
    said = ctl("evacuate", "host1", "--unconfirmed", "--guest-timeout", "1", "--yes")
    assert said.status == 4, said.err
    assert "Host host1 is not empty, and takes VMs as before. `sriovctl evacuate host1` goes on" in said.err
    assert (where(pool, web)[1], where(pool, mail)[1]) == (pool.other.ref, pool.one.ref)
    assert (guests(pool), in_service(pool, pool.one)) == (["db", "mail"], True)


@pytest.mark.parametrize(
    "error", [XapiFailed(["HOST_NOT_ENOUGH_FREE_MEMORY", "1", "0"]), KeyboardInterrupt()]
)
def test_xapi_that_does_not_move_the_rest(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The host is out of service then, which is said."""
    real = Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if method == "Async.host.evacuate":
            raise error
        return real(connection, method, *params)

    words = ["evacuate", "host1", "--unconfirmed", "--yes"]
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "call", call)
        said = ctl(*words)
    assert said.status == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert f" takes no VMs until `xe host-enable uuid={pool.one.uuid}`" in said.err
    assert "call again" in said.err or "`sriovctl evacuate host1` goes on" in said.err
    assert (guests(pool), where(pool, web)[1], in_service(pool, pool.one)) == (["db"], pool.other.ref, False)
    assert ctl(*words).status == 0
    assert guests(pool) == []


def test_in_dom0_of_another_host(pool: Pool, ctl_of: Ctl, web: str) -> None:
    said = ctl_of(pool.other, "evacuate", "host1", "--unconfirmed", "--yes")
    assert said.status == 0, said.err
    assert (guests(pool), where(pool, web)[1]) == ([], pool.other.ref)


def test_host_that_is_offline(pool: Pool, ctl: Ctl) -> None:
    pool.box.lose(pool.other)
    said = ctl("evacuate", "host2", "--yes")
    assert (said.status, "Host host2 is offline." in said.err) == (1, True)


def test_detached_vm_moves_as_it_is(pool: Pool, ctl: Ctl, web: str) -> None:
    pool.call("detach_vfs", vm=web)
    said = ctl("evacuate", "host1", "--yes")
    assert said.status == 0, said.err
    assert f"is without its VFs, and moves so; then `sriovctl attach {web}`" in said.err
    assert where(pool, web)[:3] == ("Running", pool.other.ref, 0)
    assert ctl("attach", web).status == 0
    assert where(pool, web) == ("Running", pool.other.ref, 1, None)


def test_vm_whose_move_was_cut_off_is_moved_with_vfs(pool: Pool, ctl: Ctl, web: str) -> None:
    """xapi could move it, as its VFs are away, and somebody may be at that move."""
    pool.call("detach_vfs", vm=web)
    entry = pool.entry(web)
    assert entry.move is not None
    vf = pool.vfs(pool.other, state="free")[0]["address"]
    move = entry.move._replace(host=pool.other.uuid, vfs={1: vf})
    pool.set_ledger(web, ledger.render(entry._replace(move=move)))
    plan = ctl("evacuate", "host1", "--unconfirmed", "--plan")
    assert ["web", "migrate"] in [row[:2] for row in plan.rows]
    said = ctl("evacuate", "host1", "--unconfirmed", "--yes")
    assert said.status == 0, said.err
    assert (guests(pool), where(pool, web)) == ([], ("Running", pool.other.ref, 1, None))


def test_evacuation_that_loses_xapi_goes_on_when_it_is_called_again(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call is the last that gets through."""
    real, calls = Remote.call, []

    def call(connection: Remote, method: str, *params: Any) -> Any:
        calls.append(method)
        if len(calls) > stop and method != "session.logout":
            raise Unreachable("the network is gone")
        return real(connection, method, *params)

    words, stop = ["evacuate", "host1", "--unconfirmed", "--yes"], 10
    for stop in range(10, 400, 45):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Remote, "call", call)
            ctl(*words)
        if len(calls) <= stop:
            break
        until(lambda: not any(pool.record(web)["current_operations"]))
    for _again in range(2):
        said = ctl(*words)
        if said.status == 0:
            break
    assert said.status == 0, said.err
    assert guests(pool) == []
    assert ctl("attach", web).status == 0
    assert where(pool, web) == ("Running", pool.other.ref, 1, None)


def test_relocation_of_an_evacuation_that_was_killed_is_ended_by_the_next(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdown = begins_late(monkeypatch, SHUTDOWN)
    program = begun(pool, "evacuate", "host1", "--relocate", "--yes")
    assert program.stderr
    while "VM web is being shut down" not in program.stderr.readline():
        assert program.poll() is None
    program.send_signal(signal.SIGKILL)
    program.communicate()
    shutdown.set()
    until(lambda: pool.power_state(web) == "Halted")
    plan = ctl("evacuate", "host1", "--plan")
    assert ["web", "start", "-", "host2"] in [row[:4] for row in plan.rows]
    said = ctl("evacuate", "host1", "--yes")
    assert said.status == 0, said.err
    assert where(pool, web) == ("Running", pool.other.ref, 1, None)
    assert (guests(pool), [key for key in pool.pool_keys() if key.startswith("sriov-undone")]) == ([], [])


def test_interrupted_evacuation_leaves_the_other_vms_alone(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = pool.with_vf("mail", network=pool.network("eth1"), on=pool.one)
    beside(pool, mail)
    pool.start(mail, pool.one)
    real = Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if method == "task.get_record":
            raise KeyboardInterrupt
        answer = real(connection, method, *params)
        if method == "Async.host.call_plugin" and params[2] == "migrate_vm" and "dry_run" not in params[3]:
            begun.append((params[3]["vm_uuid"], answer))
        return answer

    words: List[str] = ["evacuate", "host1", "--unconfirmed", "--yes"]
    begun: List[Any] = []
    planned = evacuation.plan

    def plan(*args: Any) -> Any:
        found = planned(*args)
        patch.setattr(Remote, "call", call)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(evacuation, "plan", plan)
        said = ctl(*words)
    assert said.status == 130, said.err
    assert "Host host1 is not empty, and takes VMs as before. `sriovctl evacuate host1` goes on" in said.err
    ((first, task),) = begun
    assert first == mail
    assert pool.box.wait_for_task(task)["status"] == "success"
    assert (where(pool, web)[1], in_service(pool, pool.one)) == (pool.one.ref, True)
    said = ctl(*words)
    assert said.status == 0, said.err
    assert [where(pool, vm) for vm in (web, mail)] == [("Running", pool.other.ref, 1, None)] * 2


def test_evacuation_while_a_setup_is_not_over(pool: Pool, ctl: Ctl, web: str) -> None:
    (ref,) = pool.api("pool.get_all")
    pool.api("pool.add_to_other_config", ref, "sriov-setup.1", "{")
    said = ctl("evacuate", "host1", "--yes")
    assert (said.status, where(pool, web)[1]) == (1, pool.one.ref)
    assert "sriov-setup.1" in said.err


def test_question(pool: Pool, ctl: Ctl, web: str) -> None:
    said = ctl("evacuate", "host1", "--unconfirmed", "--no-input")
    assert (said.status, where(pool, web)[1], in_service(pool, pool.one)) == (1, pool.one.ref, True)
    assert "--no-input forbids to ask" in said.err
