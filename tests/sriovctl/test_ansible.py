"""The Ansible module, given its arguments as JSON, as Ansible gives them: it makes a pool as a document says,
tells what changed, and changes nothing in check mode."""

import json
import os
import subprocess
import sys
from typing import Any, Dict

import pytest
from managed_pool import Pool

ROOT = os.path.abspath(f"{__file__}/../../..")
MODULE = os.path.join(ROOT, "scripts/ansible/xapi_sriov.py")
DOCUMENT = {"ports": {"*/eth1": 5}, "vms": {"web": {"vfs": [{"network": "xenbr1", "vlan": 12}]}}}
SECRET = "Tr0ub4dor&3"

TOO_OLD = sys.version_info < (3, 11)
pytestmark = [
    pytest.mark.story,
    pytest.mark.pool(password=SECRET),
    pytest.mark.skipif(TOO_OLD, reason="the pinned ansible-core needs Python 3.11 or newer"),
]


def run(pool: Pool, check_mode: bool = False, **params: Any) -> Dict[str, Any]:
    """What the task returns."""
    executable = pool.box.folder + "/sriovctl"
    with open(executable, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {sys.executable} {ROOT}/scripts/sriovctl "$@"\n')
    os.chmod(executable, 0o755)
    whole = {"host": pool.box.url, "password": SECRET, "executable": executable, **params}
    arguments = {"ANSIBLE_MODULE_ARGS": {**whole, "_ansible_check_mode": check_mode}}
    done = subprocess.run(
        [sys.executable, MODULE],
        input=json.dumps(arguments),
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    assert SECRET not in done.stdout
    ended: Dict[str, Any] = json.loads(done.stdout)
    return ended


def test_document(pool: Pool) -> None:
    web, before = pool.vm("web"), pool.everything()
    would = run(pool, check_mode=True, document=DOCUMENT)
    assert (would["changed"], pool.everything()) == (True, before)
    assert would["diff"]["prepared"].splitlines()[:2] == [
        "~ host1/eth1: 4 -> 5 VFs",
        "~ host2/eth1: 4 -> 5 VFs",
    ]
    done = run(pool, document=DOCUMENT)
    assert (done["changed"], [one["result"] for one in done["changes"]]) == (True, ["done"] * 3)
    assert pool.requests(web)[0]["settings"]["vlan"] == "12"
    again = run(pool, document=DOCUMENT)
    assert (again["changed"], again["changes"], again.get("failed")) == (False, [], None)


def test_part_that_cannot_be_done(pool: Pool) -> None:
    pool.start(pool.vm("web"), pool.one)
    would = run(pool, check_mode=True, document=DOCUMENT)
    assert "VM web is running: shut it down first." in str(would["warnings"])
    done = run(pool, document=DOCUMENT)
    assert (done["failed"], done["changed"], done["rc"]) == (True, True, 4)
    assert "VM web is running" in done["msg"]


def test_what_is_wrong(pool: Pool, tmp_path: Any) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text("vms:\n  web: {vsf: []}\n")
    wrong = run(pool, src=str(file))
    assert (wrong["failed"], wrong["changed"], wrong["rc"]) == (True, False, 2)
    assert "pool.yaml:2: vms.web.vsf: unknown key" in wrong["msg"]
    assert "mutually exclusive" in run(pool, src=str(file), document=DOCUMENT)["msg"]
    assert "No such file" in str(run(pool, document=DOCUMENT, executable="/nowhere/sriovctl"))
