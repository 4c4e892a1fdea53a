"""The hosts of a pool in a box: how a program on one reaches another, and what goes wrong between them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
import XenAPI
from box import PoolInABox
from box_host import PLUGIN, BoxHost, plugin_of_version, set_plugin, set_vfs
from machine_description import default_description

# A plugin that calls another host's plugin in its caller's session, by JSON over its host's own socket.
ASK = """#!/usr/bin/python3
import sys
sys.path.append("{library}")
import XenAPIPlugin
from sriovlib.machine.host import this_machine
from sriovlib.xapi.session import Xapi

def ask(session, args):
    found = Xapi(this_machine(), session)
    return found.call("host.call_plugin", args["host"], "sriov", "inventory", {{}})

XenAPIPlugin.dispatch({{"ask": ask}})
"""
WAIT = "#!/bin/sh\nexec sleep 60\n"
ASK_THIS_HOST = """
import XenAPI
session = XenAPI.xapi_local()
session.xenapi.login_with_password("root", "", "1.0", "a program of dom0")
print(session.xenapi.session.get_this_host(session._session))
"""


def put_plugin(host: BoxHost, name: str, text: str) -> None:
    path = host.machine.path(f"/etc/xapi.d/plugins/{name}")
    with open(path, "w") as file:
        file.write(text.format(library=os.path.dirname(PLUGIN)))
    os.chmod(path, 0o755)


def refused(box: PoolInABox, host: BoxHost, function: str = "inventory") -> List[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        box.call(host, function)
    details: List[str] = caught.value.details
    return details


def role(host: BoxHost) -> str:
    with open(host.machine.path("/etc/xensource/pool.conf")) as file:
        return file.read()


def in_background(work: Any) -> Tuple[threading.Thread, List[Any]]:
    outcomes: List[Any] = []

    def keep() -> None:
        try:
            outcomes.append(work())
        except XenAPI.Failure as failure:
            outcomes.append(failure.details)

    thread = threading.Thread(target=keep)
    thread.start()
    return thread, outcomes


# -- one host and another --------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "answers"), [(0, 1), (1, 0), (1, 1)])
def test_a_plugin_calls_the_plugin_of_another_host_in_its_callers_session(
    box: PoolInABox, asked: int, answers: int
) -> None:
    put_plugin(box.hosts[asked], "asker", ASK)
    with box.session() as session:
        arguments = {"host": box.hosts[answers].ref}
        told = session.xenapi.host.call_plugin(box.hosts[asked].ref, "asker", "ask", arguments)
    assert json.loads(told)["host_uuid"] == box.hosts[answers].uuid


def test_each_dom0_knows_its_role(box: PoolInABox) -> None:
    assert [role(host) for host in box.hosts] == ["master", "slave:192.168.1.11"]


def test_a_member_sends_clients_to_its_master(box: PoolInABox) -> None:
    with XenAPI.Session(box.xapi.url_of(box.hosts[1].ref)) as client:
        with pytest.raises(XenAPI.Failure) as caught:
            client.login_with_password("root", "wrong", "1.0", "a client")
        assert caught.value.details == ["HOST_IS_SLAVE", "192.168.1.11"]
        with box.session() as session:
            client._session = session._session  # good on the master, and only there
            with pytest.raises(XenAPI.Failure) as caught:
                client.xenapi.VM.get_all()
    assert caught.value.details == ["HOST_IS_SLAVE", "192.168.1.11"]


# -- another master --------------------------------------------------------------------------------


def test_a_new_master_knows_all_but_sessions_and_tasks(box: PoolInABox) -> None:
    old, new = box.hosts
    with box.session() as session:
        vm = box.add_vm("web1")
        session.xenapi.Async.host.call_plugin(old.ref, "sriov", "inventory", {})
        box.make_master(new)
        with pytest.raises(XenAPI.Failure) as caught:
            session.xenapi.VM.get_all()
        # The session was dead, so the client's XenAPI logged in again, there.
        assert caught.value.details == ["HOST_IS_SLAVE", "192.168.1.12"]
    assert [role(host) for host in (new, old)] == ["master", "slave:192.168.1.12"]
    with box.session() as session:
        assert session.xenapi.VM.get_name_label(vm) == "web1"
        assert session.xenapi.task.get_all() == []
        (pool,) = session.xenapi.pool.get_all_records().values()
    assert pool["master"] == new.ref
    assert box.call(old, "inventory")["host_uuid"] == old.uuid


# -- troubles --------------------------------------------------------------------------------------


def test_a_call_to_a_host_that_hangs_waits_and_others_do_not(box: PoolInABox) -> None:
    with box.hanging(box.hosts[1]):
        thread, outcomes = in_background(lambda: box.call(box.hosts[1], "inventory"))
        assert box.call(box.hosts[0], "inventory")["host_uuid"] == box.hosts[0].uuid
        assert not outcomes
    thread.join()
    assert outcomes[0]["host_uuid"] == box.hosts[1].uuid


def test_a_power_cut_ends_what_runs_and_is_noticed_later(box: PoolInABox) -> None:
    lost = box.hosts[1]
    put_plugin(lost, "wait", WAIT)

    def call() -> Any:
        with box.session() as session:
            return session.xenapi.host.call_plugin(lost.ref, "wait", "any", {})

    thread, outcomes = in_background(call)
    while not box.xapi.reach.busy(lost.ref):
        pass
    box.lose(lost, noticed=False)
    thread.join()
    assert outcomes == [["CANNOT_CONTACT_HOST", lost.ref]]
    assert refused(box, lost) == ["CANNOT_CONTACT_HOST", lost.ref]
    box.xapi.notice_dead(lost.ref)
    assert refused(box, lost) == ["HOST_OFFLINE", lost.ref]
    box.bring_back(lost)
    assert box.call(lost, "inventory")["host_uuid"] == lost.uuid


def test_a_member_without_its_master_has_no_xapi_until_another_is_made(box: PoolInABox) -> None:
    master, member = box.hosts
    box.lose(master)
    asked = [sys.executable, "-c", ASK_THIS_HOST]
    output: Dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    assert b"HOST_STILL_BOOTING" in subprocess.run(asked, env=member.environment, **output).stderr
    box.make_master(member)
    done = subprocess.run(asked, env=member.environment, **output)
    assert done.stdout.decode().strip() == member.ref
    assert role(master) == "master"  # for all that it knows


def test_hosts_without_our_plugin_and_with_another_version_of_it(box: PoolInABox, tmp_path: Path) -> None:
    bare = box.add_host(default_description(3), plugin=None)
    assert refused(box, bare) == ["XENAPI_MISSING_PLUGIN", "sriov"]
    set_plugin(box.hosts[1], plugin_of_version(str(tmp_path / "old"), "0.0.9"))
    assert box.call(box.hosts[1], "inventory")["version"] == "0.0.9"


def test_many_hosts_alike_have_machines_of_their_own(box: PoolInABox) -> None:
    first, second = box.add_hosts(2, vfs=4)
    set_vfs(second, "0000:07:00.0", 0)
    told = [box.call(host, "inventory") for host in (first, second)]
    assert [len(one["vfs"]) for one in told] == [8, 4]
    assert [one["pfs"][1]["mac"] for one in told] == ["00:1b:21:00:03:00", "00:1b:21:00:04:00"]
    assert [one["host_uuid"] for one in told] == [first.uuid, second.uuid]
