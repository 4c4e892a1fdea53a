"""apply, where something comes between: a refusal, a host that is silent, Ctrl-C, somebody else."""

import os
import re
import shlex
import signal
from typing import Any, Callable

import pytest
from box_host import set_plugin
from managed_pool import Pool
from sriovctl import terminal
from sriovctl.connection import Remote
from sriovctl.errors import Unreachable

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
Write = Callable[[str], str]


def test_new_request_that_is_refused(pool: Pool, ctl: Ctl, write: Write) -> None:
    """The old one was taken back for it, and comes back with its MAC."""
    web = pool.with_vf("web", vlan="12")
    before = pool.asked(web)
    file = write("vms: {web: {vfs: [{network: xenbr1, max_tx_rate: 9999999}]}}")
    said = ctl("apply", file, "--yes")
    assert (said.status, pool.asked(web)) == (1, before)
    assert "The VM has the old request again." in said.err


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


def test_request_that_is_given_anew_stays_on_its_host(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has more free VFs, and Ctrl-C comes while the VM is without its request."""
    pool.with_vf("db")
    web = pool.with_vf("web", vlan="12")
    mac, real = pool.mac(web), Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        answer = real(connection, method, *params)
        if "unassign_vf" in params and not params[-1].get("dry_run"):
            os.kill(os.getpid(), signal.SIGINT)
        return answer

    monkeypatch.setattr(Remote, "call", call)
    said = ctl("apply", write("vms: {web: {vfs: [{network: xenbr1, vlan: 13}]}}"), "--yes")
    assert said.status == 130
    assert pool.asked(web) == [("network", {"mac": mac, "vlan": "13"})]
    assert pool.lease(web)["host"] == pool.one.uuid


def test_command_that_gives_a_request_as_it_was(
    pool: Pool, ctl: Ctl, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the host, as a port has to."""
    web = pool.with_vf("web", pf="eth1", vlan="12")
    before, real = pool.asked(web), Remote.call

    def call(connection: Remote, method: str, *params: Any) -> Any:
        if "assign_vf" in params:
            raise Unreachable("the network is gone")
        return real(connection, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "call", call)
        said = ctl("apply", write("vms: {web: {vfs: [{pf: host1/eth1, vlan: 13}]}}"), "--yes")
    assert (said.status, pool.asked(web)) == (1, [])
    (command,) = re.findall("`sriovctl ([^`]*)` gives it as it was", said.err)
    assert ctl(*shlex.split(command)).status == 0
    assert pool.asked(web) == before


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
