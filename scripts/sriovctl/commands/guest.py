"""guest: what is to be set up in a VM's guest so that it uses its VFs."""

import argparse
from typing import List, Sequence

from .. import names
from ..client import Client
from ..command import Command
from ..errors import DONE
from ..output import Column, Record, by_key

FOUND = (
    by_key("REQUEST", "request"),
    by_key("POSITION", "position"),
    by_key("MAC", "mac"),
    by_key("VLAN", "vlan"),
    by_key("VIF", "vif_mac"),
    by_key("LINUX", "linux_driver"),
    by_key("WINDOWS", "windows_driver"),
    by_key("VF", "vf", wide=True),
    by_key("DEVICE", "device", wide=True),
    by_key("NETWORK", "network", wide=True),
)


def guest(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    told = client.pool.master("guest_info", vm_uuid=vm.uuid)
    if args.network_config:
        client.write(told["cloud_init"])
    else:
        client.show(_rows(told), FOUND)
    client.warnings(told)
    return DONE


def _rows(told: Record) -> List[Record]:
    """A row a request, with the VIF that the guest bonds with its VF where the VM has one."""
    bonds = {bond["request"]: bond for bond in told["bonds"]}
    without = {"vif_device": None, "vif_mac": None, "network": None}
    return [{**without, **bonds.get(vf["request"], {}), **vf} for vf in told["vfs"]]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="the VM")
    parser.add_argument(
        "--network-config",
        action="store_true",
        help="print cloud-init's network-config, which netplan takes too: each VF by its MAC, and a bond "
        "where the VM has a VIF in the VF's network",
    )


def _columns(args: argparse.Namespace) -> Sequence[Column]:
    return () if args.network_config else FOUND


COMMANDS = [
    Command("guest", "what a VM's guest needs: MACs, drivers, its bond", _arguments, guest, columns=_columns)
]
