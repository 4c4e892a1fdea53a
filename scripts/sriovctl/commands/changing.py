"""Commands that change one thing by one call of the plugin: VFs of a VM, of a port, settings of a VF."""

import argparse
from typing import Any, Dict, List, Optional, Sequence

from sriovlib.safetext import plural

from .. import names
from ..client import Client
from ..command import Command
from ..errors import DONE, Failed, Usage
from ..output import Column, Record, by_key
from ..pool import Host
from .looking import vf_name

SETTINGS = {  # of the plugin's configure_vf; what is shown of them in --help
    "mac": ("MAC", "a unicast MAC"),
    "vlan": ("0-4094", "VLAN; 0 is none"),
    "qos": ("0-7", "priority; needs a VLAN"),
    "vlan_protocol": ("802.1q|802.1ad", "the tag of its VLAN"),
    "min_tx_rate": ("MBIT", "guaranteed rate in Mbit/s; 0 is none"),
    "max_tx_rate": ("MBIT", "highest rate in Mbit/s; 0 is no limit"),
    "spoof_check": ("on|off", "whether other MACs may send"),
    "trust": ("on|off", "whether the guest may change MAC, VLANs and promiscuity"),
    "link_state": ("auto|enable|disable", "the link that the guest sees; auto is the port's"),
}


def _settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "settings of the VF (`default`: what /etc/sriov.conf or the driver says)"
    )
    for name, (metavar, text) in SETTINGS.items():
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar=metavar, help=text)


def chosen_settings(args: argparse.Namespace) -> Dict[str, str]:
    return {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}


def _changes(answer: Record) -> bool:
    """Whether the call has changed anything, or would in a dry run."""
    return bool(answer.get("would_change", answer.get("changed")))


# -- VFs of a VM -------------------------------------------------------------------------------------------

ASSIGNED = (
    by_key("NAME", "vm_name"),
    by_key("REQUEST", "request"),
    by_key("HOST", "host"),
    by_key("VF", "vf"),
    by_key("PORTABLE", "portable"),
    by_key("REDUNDANT", "redundant", wide=True),
    by_key("UUID", "vm_uuid", wide=True),
)


def wish(client: Client, args: argparse.Namespace) -> Dict[str, str]:
    """The arguments of assign_vf, but for the VM."""
    pool, asked = client.pool, {**chosen_settings(args)}
    if args.network:
        asked["network"] = names.network(pool, args.network).uuid
    if args.device:
        asked["device"] = args.device
    where = names.host(pool, args.on) if args.on else None
    if args.pf:
        port = names.port(pool, args.pf)
        asked["pf"], where = port.pf, _same(where, port.host, args.pf)
    if args.vf:
        its_host, address = names.vf(pool, args.vf)
        asked["vf"], where = address, _same(where, its_host, args.vf)
    if args.profile:
        asked["profile"] = args.profile
    if where is not None:
        asked["host_uuid"] = where.uuid
    return asked


def _same(where: Optional[Host], named: Host, typed: str) -> Host:
    if where is not None and where != named:
        raise Usage(f"{typed} is not on host {where.name}.", "Leave --on out.")
    return named


def assign(client: Client, args: argparse.Namespace) -> int:
    if (args.vm is None) == (args.all_of is None):
        raise Usage("Which VM?", "Name one, or give --all-of TAG.")
    if args.all_of is not None:
        from .. import bulk

        if args.request:
            raise Usage("--request is for one VM, and --all-of names several.", "Leave --request out.")
        return bulk.assign(client, args, wish(client, args))
    vm, which = names.vm(client.pool, args.vm), {"request": args.request} if args.request else {}
    answer = client.pool.master("assign_vf", vm_uuid=vm.uuid, **wish(client, args), **which, **client.dry)
    host = client.pool.host_name(answer["host_uuid"])
    client.show([{"vm_name": vm.name, "host": host, **answer}], ASSIGNED)
    client.warnings(answer)
    client.did(
        f"VM {vm.name} has VF {answer['vf']} of host {host} from its next start.",
        f"give VM {vm.name} VF {answer['vf']} of host {host}",
    )
    return DONE


def wish_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--network", metavar="NET", help="a VF of a port in this network (name, bridge or UUID)"
    )
    which.add_argument("--pf", metavar="HOST/PORT", help="a VF of this port")
    which.add_argument("--vf", metavar="HOST/PORT:N", help="this VF")
    which.add_argument("--device", metavar="VENDOR:DEVICE", help="a VF with these IDs, such as 8086:10ed")
    parser.add_argument(
        "--on", metavar="HOST", help="a VF of this host (default: where the VM has VFs, or belongs)"
    )
    parser.add_argument("--profile", metavar="router", help="settings for a firewall or router as guest")
    _settings(parser)


def _assign_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", nargs="?", metavar="VM", help="a halted VM")
    parser.add_argument("--all-of", metavar="TAG", help="each VM with this tag, that has it not already")
    parser.add_argument(
        "--request",
        metavar="N",
        help="in the place of this request (`sriovctl vms VM`), which keeps its number and its MAC",
    )
    wish_arguments(parser)


def _assign_columns(args: argparse.Namespace) -> Sequence[Column]:
    if args.all_of is None:
        return ASSIGNED
    from .. import bulk

    return bulk.ROWS


TAKEN = (
    by_key("NAME", "vm_name"),
    by_key("REQUEST", "request"),
    by_key("VF", "vf"),
    by_key("UUID", "vm_uuid", wide=True),
)


def unassign(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    which = {"all": "true"} if args.all else {"request": args.request} if args.request else {"vf": args.vf}
    answer = client.pool.master("unassign_vf", vm_uuid=vm.uuid, **which, **client.dry)
    gone = of_vm(vm, answer["unassigned"])
    none = "requests" if args.all else "such request"
    client.show(gone, TAKEN, f"VM {vm.name} has no {none}: nothing to take back.")
    if gone:
        numbers = ", ".join(str(one["request"]) for one in gone)
        client.did(f"VM {vm.name}: taken back.", f"take request {numbers} of VM {vm.name} back")
    return DONE


def _unassign_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a halted VM")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="all its requests and VFs")
    which.add_argument("--request", metavar="N", help="the request with this number (`sriovctl vms VM`)")
    which.add_argument("--vf", metavar="PCI-ADDRESS", help="the request that has this VF")


PLACED = (
    by_key("NAME", "vm_name"),
    by_key("REQUEST", "request"),
    by_key("HOST", "host"),
    by_key("VF", "vf"),
    by_key("BEFORE", "before"),
    Column("MAC", lambda row: (row.get("settings") or {}).get("mac"), wide=True),
    by_key("UUID", "vm_uuid", wide=True),
)


def of_vm(vm: names.Vm, ones: Sequence[Record], **more: Any) -> List[Record]:
    """The rows of a VM's requests or VFs."""
    return [{"vm_name": vm.name, "vm_uuid": vm.uuid, **more, **one} for one in ones]


def placed(client: Client, vm: names.Vm, uuid: Optional[str], ones: Sequence[Record]) -> List[Record]:
    """The same of VFs of the host with this UUID."""
    return of_vm(vm, ones, host=client.pool.host_name(uuid) if uuid else None, host_uuid=uuid)


def on_host(client: Client, args: argparse.Namespace) -> Dict[str, str]:
    """The argument that names the host of --on."""
    return {"host_uuid": names.host(client.pool, args.on).uuid} if args.on else {}


def show_placed(client: Client, vm: names.Vm, answer: Record) -> str:
    """Shows the VFs that a VM has now; the name of their host."""
    uuid = answer["host_uuid"]
    client.show(placed(client, vm, uuid, answer["vfs"]), PLACED, f"VM {vm.name} has no requests.")
    client.warnings(answer)
    return client.pool.host_name(uuid) or "?"


def reinstate(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    answer = client.pool.master("reinstate_vfs", vm_uuid=vm.uuid, **on_host(client, args), **client.dry)
    host = show_placed(client, vm, answer)
    if not (_changes(answer) or answer.get("pci_changed")):
        if answer["vfs"]:
            client.say(f"VM {vm.name} has these VFs already.")
    else:
        client.did(f"VM {vm.name} has VFs of host {host}.", f"give VM {vm.name} VFs of host {host}")
    return DONE


def _reinstate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vm", metavar="VM", help="a halted VM with requests")
    parser.add_argument(
        "--on", metavar="HOST", help="VFs of this host (default: where they are, if it is live)"
    )


def adopt(client: Client, args: argparse.Namespace) -> int:
    vm = names.vm(client.pool, args.vm)
    asked = on_host(client, args)
    if args.origin:
        asked["origin_uuid"] = "none" if args.origin == "none" else names.vm(client.pool, args.origin).uuid
    if args.trust_keys:
        asked["trust_keys"] = "true"
    answer = client.pool.master("adopt_vm", vm_uuid=vm.uuid, **asked, **client.dry)
    host = show_placed(client, vm, answer)
    client.did(f"VM {vm.name} has requests for these VFs of host {host}.", f"adopt VM {vm.name}")
    return DONE


def _adopt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "vm", metavar="VM", help="a halted VM with entries by hand, or a copy of a VM with VFs"
    )
    parser.add_argument("--on", metavar="HOST", help="the host whose VFs its entries mean")
    parser.add_argument("--origin", metavar="VM", help="the VM that it is a copy of, or `none`")
    parser.add_argument("--trust-keys", action="store_true", help="believe the keys of the plugin iovirt")


# -- VFs of a port, settings of a VF -----------------------------------------------------------------------

COUNTED = (
    by_key("NAME", "name"),
    by_key("BEFORE", "before"),
    by_key("AFTER", "after"),
    by_key("REBOOT", "reboot_required"),
    by_key("ADDRESS", "pf", wide=True),
)


def count(client: Client, args: argparse.Namespace) -> int:
    port = names.port(client.pool, args.port)
    force = {"force": "true"} if args.force else {}
    try:
        answer = client.pool.plugin(
            port.host, "set_vf_count", pf=port.pf, count=args.count, **force, **client.dry
        )
    except Failed as failed:
        raise failed.about(str(port)) from failed
    client.show([{"name": str(port), **port.host.row, **answer}], COUNTED)
    client.warnings(answer)
    after = plural(answer["after"], "VF")
    if answer["before"] == answer["after"] and not (_changes(answer) or answer["reboot_required"]):
        client.say(f"Port {port} has {after} already.")
    elif answer["reboot_required"]:  # until then it has those that it had
        wanted = plural(int(args.count), "VF")
        client.did(
            f"Port {port} has {wanted} after a reboot of its host.",
            f"make {wanted} on {port}, by a reboot of its host",
        )
    else:
        client.did(f"Port {port} has {after}, now and after each boot.", f"make {after} on {port}")
    return DONE


def _count_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="HOST/PORT", help="the port, such as host1/eth1")
    parser.add_argument("count", metavar="N", help="how many VFs it has from now on; 0 is none")
    parser.add_argument("--force", action="store_true", help="go on although halted VMs have VFs of it")


def _setting(name: str) -> Column:
    shown = name.replace("_", "").upper()
    return Column(shown, lambda vf: vf.get(name), wide=name not in ("mac", "vlan", "trust", "spoof_check"))


CONFIGURED = (by_key("NAME", "name"), *map(_setting, SETTINGS))


def configure(client: Client, args: argparse.Namespace) -> int:
    wanted = chosen_settings(args)
    if not wanted:
        raise Usage(
            "No setting was given.",
            f"There are {', '.join('--' + name.replace('_', '-') for name in SETTINGS)}.",
        )
    host, address = names.vf(client.pool, args.vf)
    try:
        answer = client.pool.plugin(host, "configure_vf", vf=address, **wanted, **client.dry)
    except Failed as failed:
        raise failed.about(f"Host {host.name}") from failed
    client.show([{"name": vf_name(host, answer), **host.row, **answer}], CONFIGURED)
    named = ", ".join(f"{name}={text}" for name, text in wanted.items())
    client.did(f"{vf_name(host, answer)} has {named}, now and after each boot.", f"set {named}")
    return DONE


def _configure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vf", metavar="HOST/PORT:N", help="a VF that no VM has, such as host1/eth1:3")
    _settings(parser)


COMMANDS: List[Command] = [
    Command("assign", "give a VM a VF", _assign_arguments, assign, changes=True, columns=_assign_columns),
    Command(
        "unassign",
        "take VFs back from a VM",
        _unassign_arguments,
        unassign,
        changes=True,
        columns=TAKEN,
    ),
    Command(
        "reinstate",
        "give a VM VFs for all its requests again",
        _reinstate_arguments,
        reinstate,
        changes=True,
        columns=PLACED,
    ),
    Command(
        "adopt",
        "make requests of entries by hand, or of a copy",
        _adopt_arguments,
        adopt,
        changes=True,
        columns=PLACED,
    ),
    Command(
        "count",
        "set the number of VFs of a port",
        _count_arguments,
        count,
        changes=True,
        columns=COUNTED,
    ),
    Command(
        "configure",
        "set MAC, VLAN and so on of a VF that no VM has",
        _configure_arguments,
        configure,
        changes=True,
        columns=CONFIGURED,
    ),
]
