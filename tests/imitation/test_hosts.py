"""The hosts of a pool in a box: who is asked for what, and what goes wrong between them."""

import os
import subprocess
import sys
import threading
from typing import Any, List

import XenAPI
from box import PoolInABox
from box_host import BoxHost, set_vfs
from checks import refused, until

ASK_THIS_HOST = """
import XenAPI
session = XenAPI.xapi_local()
session.xenapi.login_with_password("root", "", "1.0", "a program of dom0")
print(session.xenapi.session.get_this_host(session._session))
"""


def role(host: BoxHost) -> str:
    with open(host.machine.path("/etc/xensource/pool.conf")) as file:
        return file.read()


def test_a_member_sends_clients_to_its_master(box: PoolInABox) -> None:
    to_master = ["HOST_IS_SLAVE", "192.168.1.11"]
    with XenAPI.Session(box.xapi.url_of(box.hosts[1].ref)) as client, box.session() as session:
        assert refused(client.login_with_password, "root", "wrong", "1.0", "a client") == to_master
        client._session = session._session  # good on the master, and only there
        assert refused(client.xenapi.VM.get_all) == to_master


def test_a_new_master_knows_all_but_sessions_and_tasks(box: PoolInABox) -> None:
    old, new = box.hosts
    assert [role(host) for host in box.hosts] == ["master", "slave:192.168.1.11"]
    with box.session() as session:
        vm = box.add_vm("web1")
        session.xenapi.Async.host.call_plugin(old.ref, "sriov", "inventory", {})
        box.make_master(new)
        # The session was dead, so the client's XenAPI logged in again, there.
        assert refused(session.xenapi.VM.get_all) == ["HOST_IS_SLAVE", "192.168.1.12"]
    assert [role(host) for host in (new, old)] == ["master", "slave:192.168.1.12"]
    with box.session() as session:
        assert session.xenapi.VM.get_name_label(vm) == "web1"
        assert session.xenapi.task.get_all() == []
    assert box.call(old, "inventory")["host_uuid"] == old.uuid


def test_a_power_cut_ends_what_runs_and_is_noticed_later(box: PoolInABox) -> None:
    lost = box.hosts[1]
    outcomes: List[Any] = []
    path = lost.machine.path("/etc/xapi.d/plugins/wait")
    with open(path, "w") as file:
        file.write("#!/usr/bin/python3\nimport time\ntime.sleep(60)\n")
    os.chmod(path, 0o755)

    def call() -> None:
        outcomes.append(refused(box.xapi.call, "host.call_plugin", lost.ref, "wait", "any", {}))

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: bool(box.xapi.reach.programs(lost.ref)))
    box.lose(lost, noticed=False)
    thread.join()
    assert outcomes == [["CANNOT_CONTACT_HOST", lost.ref]]
    assert refused(box.call, lost, "inventory") == ["CANNOT_CONTACT_HOST", lost.ref]
    box.xapi.notice_dead(lost.ref)
    assert refused(box.call, lost, "inventory") == ["HOST_OFFLINE", lost.ref]
    box.bring_back(lost)
    assert box.call(lost, "inventory")["host_uuid"] == lost.uuid


def test_a_member_without_its_master_has_no_xapi_until_another_is_made(box: PoolInABox) -> None:
    master, member = box.hosts

    def asked() -> bytes:
        command = [sys.executable, "-c", ASK_THIS_HOST]
        to = subprocess.PIPE
        return subprocess.run(command, env=member.environment, stdout=to, stderr=subprocess.STDOUT).stdout

    box.lose(master)
    assert b"HOST_STILL_BOOTING" in asked()
    box.make_master(member)
    assert asked().decode().strip() == member.ref
    assert role(master) == "master"  # for all that it knows


def test_many_hosts_alike_have_machines_of_their_own(box: PoolInABox) -> None:
    first, second = box.add_hosts(2, vfs=4)
    set_vfs(second, "0000:07:00.0", 0)
    told = [box.call(host, "inventory") for host in (first, second)]
    assert [len(one["vfs"]) for one in told] == [8, 4]
    assert [one["pfs"][1]["mac"] for one in told] == ["00:1b:21:00:03:00", "00:1b:21:00:04:00"]
    assert [one["host_uuid"] for one in told] == [first.uuid, second.uuid]
