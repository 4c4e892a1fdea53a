"""apply, where something comes between: a refusal, a host that is silent, Ctrl-C, somebody else."""

from typing import Any, Callable, List

import pytest
from as_program import begun
from box_host import set_plugin
from interference import all_cuts
from managed_pool import Pool
from sriovctl import terminal
from sriovctl.connection import Remote

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
Write = Callable[[str], str]


def test_new_request_that_is_refused(pool: Pool, ctl: Ctl, write: Write) -> None:
    """The VM keeps what it has."""
    web = pool.with_vf("web", vlan="12")
    before = pool.asked(web)
    file = write("vms: {web: {vfs: [{network: xenbr1, max_tx_rate: 9999999}]}}")
    said = ctl("apply", file, "--yes")
    assert (said.status, pool.asked(web)) == (1, before)
    assert "max_tx_rate" in said.err


def test_host_that_does_not_answer(pool: Pool, ctl: Ctl, write: Write) -> None:
    """Of a pattern: what is known is made, and the status says that not all is known."""
    set_plugin(pool.other, None)
    file = write('ports: {"*/eth1": 5}')
    assert ctl("apply", file, "--check").status == 4
    said = ctl("apply", file, "--yes")
    assert (said.status, said.out) == (4, "~ host1/eth1: 4 -> 5 VFs\n")
    assert "host host2: " in said.err
    assert ctl("apply", file, "--check").status == 4
    assert "What could be looked at" in ctl("apply", file, "--check").err


@pytest.mark.parametrize("vf", ["{pf: host2/eth1}", "{vf: 'host2/eth1:0'}"])
def test_vf_of_a_host_that_does_not_answer(pool: Pool, ctl: Ctl, write: Write, vf: str) -> None:
    """Whether the VM has it is not known, so nothing is taken from it; others get what they lack."""
    web, db = pool.vm("web"), pool.vm("db")
    assert ctl("apply", write(f"vms: {{web: {{vfs: [{vf}]}}}}"), "--yes").status == 0
    before = pool.asked(web), pool.lease(web), pool.pci(web)
    set_plugin(pool.other, None)
    file = write(f"vms: {{web: {{vfs: [{vf}]}}, db: {{vfs: [{{pf: host1/eth1}}]}}}}")
    for _ in range(2):
        said = ctl("apply", file, "--yes")
        assert (pool.asked(web), pool.lease(web), pool.pci(web)) == before
        assert (said.status, len(pool.asked(db))) == (4, 1)
        assert "VM web: Whether it has its VF of host2/eth1" in said.err


def test_ctrl_c(pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is said; the same command goes on."""
    web, db = pool.vm("web"), pool.vm("db")
    file, real = write("vms: {web: {vfs: [{network: xenbr1}]}, db: {vfs: [{network: xenbr1}]}}"), Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "assign_vf" in params and params[-1]["vm_uuid"] == db:
            raise KeyboardInterrupt
        return real(connection, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "call", call)
        said = ctl("apply", file, "--yes")
    assert (said.status, len(pool.asked(web)), len(pool.asked(db))) == (130, 1, 0)
    assert "At least 1 of 2 changes was made." in said.err
    assert ctl("apply", file, "--yes").status == 0
    assert (len(pool.asked(web)), len(pool.asked(db))) == (1, 1)


def test_request_that_changes_stays_what_it_is(pool: Pool, ctl: Ctl, write: Write) -> None:
    """On its host, though another has more free VFs; with its MAC; and for the guest the first of two."""
    pool.with_vf("db")
    web = pool.with_vf("web", vlan="12")
    pool.assign(web, network=pool.network("eth1"))
    (first, second), before = pool.requests(web), pool.pci(web)
    file = write("vms: {web: {vfs: [{network: xenbr1}, {network: xenbr1, vlan: 13}]}}")
    said = ctl("apply", file, "--yes")
    assert (said.status, len(said.out.splitlines())) == (0, 1), said.err
    changed, same = pool.requests(web)
    assert (changed["request"], changed["vf"], same) == (1, first["vf"], second)
    assert changed["settings"] == {**first["settings"], "vlan": "13"}
    assert (pool.lease(web)["host"], pool.pci(web)) == (pool.one.uuid, before)


class Killed(BaseException):
    """As by kill -9: nothing of the program runs any more."""


def killed_at(patch: pytest.MonkeyPatch, number: int, after: bool, run: Callable[[], Any]) -> bool:
    """Whether the program has come to its call of that number that may change something: it is killed then,
    before or after the plugin has done it."""
    real, left = Remote.call, [number]

    def call(connection: Remote, method: str, *params: Any) -> Any:
        changes = "assign_vf" in params or "unassign_vf" in params
        left[0] -= changes
        is_last = changes and left[0] == 0
        if is_last and not after:
            raise Killed
        answer = real(connection, method, *params)
        if is_last:
            raise Killed
        return answer

    with patch.context() as patched:
        patched.setattr(Remote, "call", call)
        try:
            run()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("after", [True, False], ids=["once it was done", "before it was done"])
def test_apply_that_is_killed_loses_nothing(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """At each of its calls; the same command again ends as one that was not killed, with the same MACs."""
    web = pool.with_vf("web", vlan="12")
    pool.assign(web, network=pool.network("eth1"), mac="02:16:3e:00:00:05")
    was = pool.asked(web)
    old = "vms: {web: {vfs: [{network: xenbr1, vlan: 12}, {network: xenbr1, mac: '02:16:3e:00:00:05'}]}}"
    new = "vms: {web: {vfs: [{network: xenbr1, vlan: 13}, {network: xenbr1, mac: '02:16:3e:00:00:06'}]}}"
    wanted = [
        ("network", {"mac": was[0][1]["mac"], "vlan": "13"}),
        ("network", {"mac": "02:16:3e:00:00:06"}),
    ]
    number = 1
    while killed_at(monkeypatch, number, after, lambda: ctl("apply", write(new), "--yes")):
        assert sorted(one["mac"] for _, one in pool.asked(web))[1] == was[0][1]["mac"], number
        assert ctl("apply", write(new), "--yes").status == 0
        assert pool.asked(web) == wanted, number
        assert ctl("apply", write(old), "--yes").status == 0
        assert pool.asked(web) == was
        number += 1
    assert number == 3
    assert pool.asked(web) == wanted


def test_pool_that_changes_while_the_plan_is_read(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has made it so: the VM does not get its VF twice."""
    web = pool.vm("web")
    file = write("vms: {web: {vfs: [{network: xenbr1}]}}")

    def asked_while(_question: str) -> bool:
        pool.assign(web, network=pool.network("eth1"))
        return True

    monkeypatch.setattr(terminal, "asked", asked_while)
    said = ctl("apply", file)
    assert (said.status, len(pool.asked(web))) == (1, 1)
    assert "(CHANGED_MEANWHILE)" in said.err
    monkeypatch.setattr(terminal, "asked", lambda _question: True)
    assert ctl("apply", write("vms: {web: {vfs: []}}")).status == 0
    assert pool.asked(web) == []


def test_toolstack_that_ends_in_the_midst_of_a_change(pool: Pool, ctl: Ctl, write: Write) -> None:
    """The plugin is killed with it; the next apply sees to the rest, and then nothing is left to be done."""
    web, network = pool.vm("web"), pool.network("eth1")
    file = write("vms: {web: {vfs: [{network: xenbr1}]}}")
    half = 0
    for number in all_cuts(lambda: pool.act("assign_vf", vm=web, network=network, on=pool.one)):
        half += bool(pool.asked(web)) and pool.pci(web) is None
        assert ctl("apply", file, "--yes").status == 0
        (address,) = pool.lease(web)["vfs"].values()
        assert (pool.pci(web), pool.codes()) == (f"0/{address}", []), number
        assert "The pool is as the file says." in ctl("apply", file, "--yes").err
        pool.unassign(web)
        pool.set_ledger(web, None)
    assert half


def test_vfs_that_cannot_be_given_again(pool: Pool, ctl: Ctl, write: Write) -> None:
    """Somebody has taken the VM's entries out, then its port's VFs away: the plan says what is in the way. Of
    a VM that runs nothing is said, as it has what it has."""
    web = pool.with_vf("web")
    file, before = write("vms: {web: {vfs: [{network: xenbr1}]}}"), pool.pci(web)
    pool.set_pci(web, None)
    plan = ctl("apply", file, "--check")
    line = "~ web: its VFs of host host1 again, which its entries do not name\n"
    assert (plan.status, plan.out, pool.pci(web)) == (4, line, None)
    pool.call("set_vf_count", pool.one, pf="eth1", count="0", force="true")
    refused = ctl("apply", file, "--yes")
    assert (refused.status, pool.pci(web)) == (1, None)
    assert "  ! Host host1 has no VF that fits request 1" in refused.out
    pool.call("set_vf_count", pool.one, pf="eth1", count="4")
    assert (ctl("apply", file, "--yes").status, pool.pci(web)) == (0, before)
    pool.start(web, pool.one)
    pool.set_pci(web, None)
    assert (ctl("apply", file, "--check").status, pool.codes()) == (0, ["LEASE_STALE"])


@pytest.mark.parametrize("moment", [1, 3, 4, 5])
def test_apply_twice_at_the_same_moment(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Both see what the VMs lack; together they give them that once. From one they take VFs back before."""
    web, db = pool.vm("web"), pool.with_vf("db", vlan="12")
    pool.assign(db, network=pool.network("eth1"), vlan="13")
    file = write("vms: {web: {vfs: [{network: xenbr1}, {network: xenbr1}]}, db: {vfs: [{pf: host1/eth1}]}}")
    real, told = Remote.call, []

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "assign_vf" in params or "unassign_vf" in params:
            told.append(params)
            if len(told) == moment:
                with begun(pool, "apply", file, "--yes") as rival:
                    _, said = rival.communicate()
                assert rival.returncode == 0, said
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("apply", file, "--yes")
    assert said.status == 0, said.err
    assert [by for by, _ in pool.asked(web)] == ["network", "network"]
    assert [by for by, _ in pool.asked(db)] == ["pf"]
    assert "got other requests meanwhile: looking again" in said.err


def test_vm_that_is_not_found_when_it_is_looked_at_again(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made is said all the same."""
    web, db = pool.vm("web"), pool.vm("db")
    file = write("vms: {web: {vfs: [{network: xenbr1}]}, db: {vfs: [{network: xenbr1}]}}")
    real = Remote.call
    taken: List[Any] = []

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "assign_vf" in params and params[-1]["vm_uuid"] == db and not taken:
            taken.append(pool.assign(db, pf="eth1", on=pool.one))
            pool.api("VM.set_name_label", pool.ref(db), "other")
        return real(connection, method, *params)

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("apply", file, "--yes")
    assert (said.status, len(pool.asked(web)), [by for by, _ in pool.asked(db)]) == (4, 1, ["pf"])
    for words in ("there is no VM `db`", "(SRIOV_OTHER_REQUESTS)", "1 of 2 changes was made."):
        assert words in said.err


def test_programs_that_begin_together(pool: Pool, write: Write) -> None:
    """As from cron on two workstations."""
    vms = [pool.vm(f"web{number}") for number in range(4)]
    file = write(
        f"vms: {{{', '.join(f'web{number}: {{vfs: [{{network: xenbr1}}]}}' for number in range(4))}}}"
    )
    programs = [begun(pool, "apply", file, "--yes") for _ in range(3)]
    said = [program.communicate()[1] for program in programs]
    assert [program.returncode for program in programs] == [0, 0, 0], said
    assert [len(pool.asked(vm)) for vm in vms] == [1, 1, 1, 1]
