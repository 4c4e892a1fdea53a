"""sriovctl on a workstation: bare hosts become hosts with VFs, rebooted on the way, and a guest has one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import pytest
from lab import image, toolstack, two_hosts, vms
from lab.host import LabHost, say
from lab.toolstack import ask, call
from lab.two_hosts import CARDS

SwitchOn = Callable[..., LabHost]

PROGRAM = os.path.join(image.REPOSITORY, "scripts", "sriovctl")
MAC = "02:16:3e:00:00:50"
MINUTES = "15"  # that a host may take to reboot
SECONDS = "600"  # that it may take to answer: it is emulated


def sriovctl(master: LabHost, *words: str) -> str:
    """What it prints; its messages are told. It must end with status 0."""
    reach = {"SRIOVCTL_HOST": f"http://127.0.0.1:{master.xapi_port}", "SRIOVCTL_PASSWORD": toolstack.PASSWORD}
    ended = subprocess.run(
        [sys.executable, PROGRAM, *words, "--timeout", SECONDS],
        env={**os.environ, **reach},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    for line in (ended.stdout + ended.stderr).splitlines():
        say(line)
    assert ended.returncode == 0
    return ended.stdout


def states(master: LabHost) -> "dict[str, str]":
    rows = [line.split() for line in sriovctl(master, "status", "--no-headers").splitlines()]
    return {row[0]: row[1] for row in rows}


@pytest.mark.short
def test_one_host(switch_on: SwitchOn) -> None:
    """It is the master of its pool: what drives its reboot runs elsewhere, and finds it again."""
    host = toolstack.bring(switch_on("lone", "grub"))
    (pf,) = [pf["interface"] for pf in call(host, "list_pfs") if not pf["management"]][:1]
    assert list(states(host).values()) == ["no-iommu"]
    sriovctl(host, "setup", "--pf", pf, "--count", "2", "--yes", "--reboot-minutes", MINUTES)
    host.forget_session()
    assert list(states(host).values()) == ["ready"]
    a_guest_has_a_vf(host, [host], pf)


def test_two_hosts(switch_on: SwitchOn) -> None:
    """One after the other, the master last; a second setup has nothing to do."""
    cables = two_hosts.cables("wire-setup")
    with ThreadPoolExecutor() as threads:
        first = threads.submit(lambda: two_hosts.bring(switch_on("delta", "extlinux", cables.first), 1))
        second = threads.submit(
            lambda: two_hosts.bring(switch_on("epsilon", "extlinux", cables.second), 2, master=1)
        )
        master, member = first.result(), second.result()
    two_hosts.joined(master, member)
    assert set(states(master).values()) == {"no-iommu"}
    wanted = ["setup", "--pf", CARDS[0], "--count", "2", "--reboot-minutes", MINUTES]
    planned = sriovctl(master, *wanted, "--plan")
    assert set(states(master).values()) == {"no-iommu"}
    assert planned.index("epsilon") < planned.index("delta")
    sriovctl(master, *wanted, "--yes")
    master.forget_session()
    assert states(master) == {"delta": "ready", "epsilon": "ready"}
    sriovctl(master, *wanted)  # asks nobody, for there is nothing to do
    a_guest_has_a_vf(master, [master, member], f"{member.name}/{CARDS[0]}")


def a_guest_has_a_vf(master: LabHost, hosts: "list[LabHost]", port: str) -> None:
    """xapi starts it where it likes: its VF is at the same place of both hosts."""
    web = vms.new(master, "web")
    sriovctl(master, "assign", "web", "--pf", port, "--mac", MAC)
    web.start()
    sriovctl(master, "wait", "web", "--for", "running-with-vfs")
    home = ask(master, "host.get_name_label", web.record["resident_on"])
    (host,) = [one for one in hosts if len(hosts) == 1 or one.name == home]
    assert web.mac(host) == MAC
    say("the guest has its MAC")
    web.shut_down()
