#!/usr/bin/env python3
"""The xapi of a lab host: the pool in a box, in a real dom0 and on a real Xen.

Where /etc/xensource/pool.conf says `slave:ADDRESS` it is the xapi of a member of that pool (member.py).
"""

import signal
import threading
import traceback
from functools import partial

import member
import reboots
import vm_guest
import xl
from hosts import describe_this_machine, read_inventory
from members import Members
from plugin_calls import Dom0
from programs import HERE, Programs
from sriovlib.machine.host import this_machine
from values import Failure
from vm_operations import new_vm
from xapi import Xapi

PASSWORD = "password"
PLUGINS, INVENTORY = "/etc/xapi.d/plugins", "/etc/xensource-inventory"
SOCKET = "/var/lib/xcp/xapi"
POOL_CONF = "/etc/xensource/pool.conf"
BLANK = {"name_label": "blank", "domain_type": "pv"}  # what clients clone their VMs from


def main() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    role, _, master = _role().partition(":")
    address = read_inventory(INVENTORY).get("LAB_ADDRESS", "")
    description = describe_this_machine(INVENTORY)._replace(address=address)
    if role == "slave":
        member.serve(description, master, SOCKET)
        ended.wait()
        return
    with Xapi(PASSWORD) as xapi:
        dom0 = Dom0(PLUGINS, machine=this_machine())
        xapi.boot = partial(reboots.reboot, xapi)
        known = reboots.recall(xapi)
        if known:
            host = known.pop(description.uuid)
            xapi.replace_host(host, dom0, SOCKET)
            reboots.is_up(xapi, host)
        else:
            host = xapi.add_host(description, dom0, SOCKET)
            new_vm(xapi, BLANK)
        give_guests(xapi, host, HERE)
        Members(xapi, PLUGINS, give_guests, known).listen()
        print(xapi.listen(("0.0.0.0", 80)))
        ended.wait()


def _role() -> str:
    try:
        with open(POOL_CONF) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "master"


def give_guests(xapi: Xapi, host: str, programs: Programs) -> None:
    """The host's VMs are real from now on."""

    def when_ended(uuid: str, domain: int, reason: str) -> None:
        try:
            _guest_ended(xapi, host, uuid, domain, reason)
        except Failure as failure:
            print(f"{uuid}, domain {domain}, ended by itself: {failure.description}")
        except Exception:
            traceback.print_exc()

    address = xapi.database.get("host", host, "address")
    xapi.life.set_hypervisor(host, xl.Xl(programs, xapi.reach, host, address, when_ended))


def _guest_ended(xapi: Xapi, host: str, uuid: str, domain: int, reason: str) -> None:
    vm = xapi.database.by_uuid("VM", uuid)
    with xapi.life.queue(vm):
        if xapi.life.hypervisor(xapi, host).domain(uuid) != domain:
            return  # somebody has stopped it in between
        if reason == xl.REBOOT:
            vm_guest.reboot(xapi, vm)
        else:
            vm_guest.shut_down(xapi, vm)


if __name__ == "__main__":
    main()
