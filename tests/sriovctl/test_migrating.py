"""migrate, suspend, resume, detach, attach: a running VM has its VFs in the end, or a message says where it
is and what gives them back."""

import os
import re
import shlex
from typing import Any, Callable, List, Sequence

import pytest
from managed_pool import Pool
from moved_vms import commands
from sriovctl import tasks
from sriovctl.connection import Remote
from sriovctl.errors import Unreachable
from sriovlib.pool import networks

pytestmark = [pytest.mark.story, pytest.mark.usefixtures("impatient")]

Ctl = Callable[..., Any]
CALLS = os.path.abspath(f"{__file__}/../../../docs/calls.md")


@pytest.fixture
def web(pool: Pool) -> str:
    """It runs on host1, with a VF there and a VIF beside it."""
    web = pool.with_vf("web", network=pool.network("eth1"), on=pool.one)
    pool.box.xapi.database.set("VM", pool.ref(web), "suspend_SR", "OpaqueRef:a repository")
    network = pool.box.xapi.database.get("PIF", pool.box.pif(pool.one, "eth1"), "network")
    pool.box.xapi.database.create("VIF", {"VM": pool.ref(web), "network": network, "device": "0"})
    pool.start(web, pool.one)
    return web


def place(pool: Pool, vm: str) -> Any:
    record = pool.record(vm)
    devices = pool.devices(vm) if record["power_state"] == "Running" else None
    return record["power_state"], record["resident_on"], devices, pool.listed(vm)["move"]


@pytest.mark.parametrize(
    "words", [("migrate", "web", "host2"), ("suspend", "web"), ("detach", "web"), ("evacuate", "host1")]
)
def test_how_long_a_guest_may_take(pool: Pool, ctl: Ctl, words: Sequence[str]) -> None:
    """Help, refusal and plugin say the same of it, and so do the documents."""
    for text in ("0.9", "601", "86400"):
        said = ctl(*words, "--guest-timeout", text)
        assert (said.status, f"`{text}` is not 1 to 600 seconds" in said.err) == (2, True), said.err
    assert "600 at most (default: 60)" in " ".join(ctl(words[0], "--help").out.split())
    refused = pool.refused("detach_vfs", vm=pool.vm("web"), timeout="601")
    refused.says("SRIOV_BAD_ARGUMENT", "1 to 600 seconds")
    with open(CALLS, encoding="utf-8") as file:
        rows = [line for line in file if line.startswith("| `timeout` |")]
    assert [re.findall("([0-9]+) to 600 \\(default: 60\\)", row) for row in rows] == [["1"], ["1"], ["0"]]


def test_moved_and_back(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    would = ctl("migrate", "web", "host2", "--unconfirmed", "--dry-run")
    assert (would.status, place(pool, web)) == (0, before), would.err
    assert "Would move VM web to host host2 while it runs, with VFs there." in would.err
    for target, name in ((pool.other, "host2"), (pool.one, "host1")):
        said = ctl("migrate", "web", name, "--unconfirmed")
        assert said.status == 0, said.err
        assert said.rows[1][:3] == ["web", "1", name]
        assert re.search(rf"VM web runs on host {name}\. It was without VFs for [0-9.]+ s: ", said.err)
        assert place(pool, web)[:2] == ("Running", target.ref)
        assert len(pool.devices(web)) == 1
    again = ctl("migrate", "web", "host1", "--unconfirmed")
    assert (again.status, "already" in again.err) == (0, True)


@pytest.mark.usefixtures("web")
def test_in_dom0(pool: Pool, ctl_of: Ctl) -> None:
    said = ctl_of(pool.other, "migrate", "web", "host2", "--unconfirmed")
    assert (said.status, said.rows[1][:3]) == (0, ["web", "1", "host2"]), said.err


def test_what_is_in_the_way_names_the_options_of_this_program(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    said = ctl("migrate", "web", "host2")
    assert (said.status, place(pool, web)) == (1, before)
    assert "nobody has confirmed" in said.err
    assert "unconfirmed=true is `--unconfirmed`" in said.err
    (vif,) = pool.record(web)["VIFs"]
    pool.box.xapi.database.set("VIF", vif, "currently_attached", False)
    said = ctl("migrate", "web", "host2", "--unconfirmed")
    assert "network_gap=allowed is `--network-gap`" in said.err
    assert ctl("migrate", "web", "host2", "--unconfirmed", "--network-gap").status == 0


def test_detached_and_attached(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    said = ctl("detach", "web")
    assert said.status == 0, said.err
    assert (said.rows[1], pool.devices(web)) == (["web", "1", *before[2]], [])
    assert "already" in ctl("detach", "web").err
    assert "VF_DEGRADED" in ctl("doctor").out
    shown = ctl("vms", "web", "--columns", "POWER,VF,STATE")
    assert shown.rows[1] == ["running", *before[2], "detached"]
    said = ctl("attach", "web")
    assert (said.status, place(pool, web)) == (0, before), said.err
    assert "VM web runs on host host1, with its VFs." in said.err
    again = ctl("attach", "web")
    assert (again.status, again.out) == (0, "")
    assert "None of its VFs is detached, and no move of it is left to be ended." in again.err


@pytest.mark.parametrize("command", ["detach", "suspend"])
def test_guest_that_has_no_network_meanwhile_is_warned_of(
    pool: Pool, ctl: Ctl, web: str, command: str
) -> None:
    (vif,) = pool.record(web)["VIFs"]
    pool.box.xapi.database.set("VIF", vif, "currently_attached", False)
    said = ctl(command, "web")
    assert said.status == 0, said.err
    assert "warning: VM web" in said.err
    assert "its guest is without that network until the VM has its VFs again." in said.err


def test_suspended_and_resumed_elsewhere(pool: Pool, ctl: Ctl, web: str) -> None:
    """The domain of a resumed VM takes no device: it moves to one that does."""
    said = ctl("suspend", "web")
    assert (said.status, pool.power_state(web)) == (0, "Suspended"), said.err
    assert "`--unconfirmed`" in said.err
    again = ctl("suspend", "web")
    assert (again.status, commands(again.err)) == (0, [["resume", web]])
    assert "`migrate_vm` with" in ctl("doctor").err
    assert ctl("vms", "web", "--columns", "POWER,STATE").rows[1] == ["suspended", "detached"]
    waits = ctl("attach", "web").err
    assert f"`sriovctl resume {web}`" in waits
    assert "None of its VFs" not in waits
    said = ctl("resume", "web", "host2", "--unconfirmed")
    assert said.status == 0, said.err
    assert (said.rows[1][:3], len(pool.devices(web))) == (["web", "1", "host2"], 1)
    assert "VM web runs on host host2, with its VFs." in said.err
    assert place(pool, web)[3] is None
    pool.shut_down(web)
    assert "halted" in ctl("resume", "web").err


def test_resumed_where_xapi_chooses(pool: Pool, ctl: Ctl, web: str) -> None:
    """As the message of suspend says it."""
    (resume,) = [words for words in commands(ctl("suspend", "web").err) if words[0] == "resume"]
    said = ctl(*resume, "--unconfirmed")
    assert said.status == 0, said.err
    assert (len(pool.devices(web)), place(pool, web)[3]) == (1, None)


def test_resumed_where_nobody_has_confirmed_it(pool: Pool, ctl: Ctl, web: str) -> None:
    ctl("suspend", "web")
    said = ctl("resume", "web", "host2")
    assert said.status == 1
    assert "VM web is resumed, and runs without its VFs." in said.err
    assert "unconfirmed=true is `--unconfirmed`" in said.err
    assert place(pool, web)[:3] == ("Running", pool.other.ref, [])
    (migrate,) = [words for words in commands(said.err) if words[0] == "migrate"]
    (attach,) = commands(ctl("resume", "web", "--unconfirmed").err)
    assert "without its VFs" in ctl(*attach).err
    said = ctl(*migrate, "--unconfirmed")
    assert (said.status, said.rows[1][:3]) == (0, ["web", "1", "host2"]), said.err
    assert (len(pool.devices(web)), place(pool, web)[3]) == (1, None)


def test_resumed_in_a_pool_that_is_gone_then(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it runs nobody tells; that it is resumed, and without its VFs, is said."""
    ctl("suspend", "web")
    real, asked = Remote.call, []

    def call(connection: Remote, method: str, *params: Any) -> Any:
        asked.append(method)
        if method == "VM.get_resident_on" and asked.count(method) == 2:
            raise Unreachable("the network is gone")
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("resume", "web", "host2")
    assert said.status == 1
    assert "VM web is resumed, and runs without its VFs." in said.err
    assert "unconfirmed=true is `--unconfirmed`" in said.err
    assert place(pool, web)[:3] == ("Running", pool.other.ref, [])


def test_suspend_that_xapi_refuses(pool: Pool, ctl: Ctl, web: str) -> None:
    before = place(pool, web)
    pool.box.xapi.database.set("VM", pool.ref(web), "suspend_SR", networks.NULL)
    said = ctl("suspend", "web")
    assert (said.status, place(pool, web)) == (1, before)
    assert "VM_NO_SUSPEND_SR" in said.err
    assert "There is no storage for the memory of the suspended VM." in said.err
    assert "VM web runs on host host1, with its VFs." in said.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unreachable("the network is gone")])
def test_suspend_that_is_interrupted(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """What xapi does is awaited; the VM is suspended then, or has its VF."""
    real, failed = Remote.call, []

    def call(connection: Remote, method: str, *params: Any) -> Any:
        answer = real(connection, method, *params)
        if method == "Async.VM.suspend":
            failed.append(answer)
        if method == "task.get_record" and [*params] == failed:
            failed.append("interrupted")
            raise error
        return answer

    before = place(pool, web)
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "call", call)
        said = ctl("suspend", "web")
    assert len(failed) == 2
    if said.status == 0:
        assert pool.power_state(web) == "Suspended"
    else:
        assert place(pool, web) == before, said.err
        assert "VM web runs on host host1, with its VFs." in said.err


def interrupted(patch: pytest.MonkeyPatch, error: BaseException) -> List[str]:
    """The first look at a task of the plugin ends so; that task."""
    plugins: List[str] = []
    real = Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if method == "task.get_record":
            raise error
        answer = real(connection, method, *params)
        plugins.extend([answer] if method == "Async.host.call_plugin" else [])
        return answer

    patch.setattr(Remote, "call", call)
    return plugins


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unreachable("the network is gone")])
def test_migrate_that_is_left_goes_on_in_the_pool(
    pool: Pool, ctl: Ctl, web: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Its caller has logged out."""
    monkeypatch.setattr(tasks, "SILENT_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        task = interrupted(patch, error)
        assert ctl("migrate", "web", "host2", "--unconfirmed").status == 1
    assert pool.box.wait_for_task(task[0])["status"] == "success"
    state, host, devices, move = place(pool, web)
    assert (state, host, len(devices), move) == ("Running", pool.other.ref, 1, None)


@pytest.mark.usefixtures("web")
def test_migrate_that_is_left_says_where_the_vm_is(
    pool: Pool, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        task = interrupted(patch, KeyboardInterrupt())
        said = ctl("migrate", "web", "host2", "--unconfirmed")
    assert said.status == 1
    assert "Interrupted. The pool goes on with it. VM web runs on host host" in said.err
    (attach,) = [shlex.split(words) for words in re.findall("`sriovctl (attach [^`]*)`", said.err)]
    pool.box.wait_for_task(task[0])
    assert ctl(*attach).status == 0


def test_vm_without_vfs(pool: Pool, ctl: Ctl) -> None:
    pool.start(pool.vm("db"), pool.one)
    for words in (["migrate", "db", "host2"], ["detach", "db"], ["suspend", "db"]):
        said = ctl(*words)
        assert (said.status, "has no request for a VF" in said.err) == (1, True), said.err
    assert "no move of it is left to be ended." in ctl("attach", "db").err
    assert pool.power_state(pool.uuid(pool.box.xapi.database.by_name_label("VM", "db")[0])) == "Running"


def test_explain_says_whether_it_can_be_moved(pool: Pool, ctl: Ctl, web: str) -> None:
    command = f"`sriovctl migrate {web} host2`"
    said = ctl("explain", "web").err
    assert f"{command[:-1]} --unconfirmed` moves it while it runs, over its VIFs meanwhile" in said
    assert "nobody has confirmed" in said
    (vif,) = pool.record(web)["VIFs"]
    pool.box.xapi.database.set("VIF", vif, "currently_attached", False)
    said = ctl("explain", "web").err
    assert f"{command} would not move it: VM web" in said
    assert "network_gap=allowed is `--network-gap`" in said
