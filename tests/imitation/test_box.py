"""The pool in a box: clients reach the real plugin on each host, and its Python is that of a dom0."""

import json
import os
import subprocess
import sys
from typing import Dict, Iterator, Set

import pytest
import XenAPI
from box import PoolInABox

PRINT_ENVIRONMENT = """#!/usr/bin/python3
import json, os, sys
import XenAPIPlugin
def given(session, args):
    return json.dumps({"environment": dict(os.environ), "python": sys.version})
XenAPIPlugin.dispatch({"given": given})
"""
ASK_THIS_HOST = """
import XenAPI
session = XenAPI.xapi_local()
session.xenapi.login_with_password("root", "", "1.0", "a program of dom0")
print(session.xenapi.session.get_this_host(session._session))
session.xenapi.session.logout()
"""
LIST_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


@pytest.fixture(scope="module")
def box() -> Iterator[PoolInABox]:
    with PoolInABox(interpreter=sys.executable) as box:
        yield box


def test_the_plugin_tells_of_the_machine_of_the_host_that_is_called(box: PoolInABox) -> None:
    for number, host in enumerate(box.hosts, 1):
        told = box.call(host, "inventory")
        assert told["host_uuid"] == host.uuid
        macs = {pf["mac"] for pf in told["pfs"]}
        assert {f"00:1b:21:00:{number:02x}:00", f"00:1b:21:00:{number:02x}:01"} <= macs


def test_an_error_of_the_plugin_reaches_the_client_with_its_hint(box: PoolInABox) -> None:
    with pytest.raises(XenAPI.Failure) as caught:
        box.call(box.hosts[0], "list_vfs", colour="blue")
    code, message, hint = caught.value.details
    assert code == "SRIOV_BAD_ARGUMENT"
    assert "colour" in message
    assert "pf" in hint


def test_xapi_knows_the_ports_of_every_host_and_which_is_for_management(box: PoolInABox) -> None:
    with box.session() as session:
        pifs = session.xenapi.PIF.get_all_records().values()
    for host in box.hosts:
        own = {pif["device"]: pif for pif in pifs if pif["host"] == host.ref}
        assert [device for device, pif in own.items() if pif["management"]] == ["eth0"]
        assert set(own) == {"eth0", "eth1", "eth2"}
    assert len({pif["network"] for pif in pifs}) == 3  # networks are the pool's, not a host's


def test_a_plugin_is_started_with_what_xapi_gives_and_nothing_more(box: PoolInABox) -> None:
    host = box.hosts[0]
    path = host.machine.path("/etc/xapi.d/plugins/probe")
    with open(path, "w") as file:
        file.write(PRINT_ENVIRONMENT)
    os.chmod(path, 0o755)
    with box.session() as session:
        told = json.loads(session.xenapi.host.call_plugin(host.ref, "probe", "given", {}))
    assert told["python"] == sys.version
    assert told["environment"].pop("PATH") == "/sbin:/usr/sbin:/bin:/usr/bin"
    told["environment"].pop("LC_CTYPE", None)  # Python's own doing, from 3.7 on
    assert told["environment"] == {}


def run_in_dom0(environment: Dict[str, str], program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    return done.stdout


def test_a_program_of_dom0_reaches_the_xapi_of_its_own_host(box: PoolInABox) -> None:
    for host in box.hosts:
        assert run_in_dom0(host.environment, ASK_THIS_HOST).strip() == host.ref


def test_a_program_that_imports_nothing_of_ours_is_left_alone(box: PoolInABox) -> None:
    def modules(environment: Dict[str, str]) -> Set[str]:
        return set(json.loads(run_in_dom0(environment, LIST_MODULES)))

    assert modules(box.hosts[0].environment) - modules({}) <= {"sitecustomize"}


def test_nothing_is_left_of_a_closed_box() -> None:
    with PoolInABox() as box:
        box.add_vm("web1", other_config={"pci": "0/0000:07:10.0"})
        assert os.path.isdir(box.folder)
    assert not os.path.exists(box.folder)
    with pytest.raises(OSError, match="refused"):
        box.call(box.hosts[0], "status")
