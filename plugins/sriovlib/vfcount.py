"""`set_vf_count`: the VFs of a PF now and at each boot, in a way that takes none from a VM."""

from typing import Any, Dict, List, Mapping, Optional

from . import (
    arguments,
    guards,
    hostconfig,
    identity,
    ini,
    inventory,
    listing,
    moduleparam,
    network,
    pci,
    pciback,
    poolcopy,
    restore,
    vfs,
    vfsettings,
)
from .errors import SriovError
from .host import Host
from .hostconfig import HostConfig
from .xapi import Xapi

# What xapi keeps PCI objects of: storage, network and display (xen-api: xapi_pci.ml, managed_classes).
_CLASSES_OF_XAPI = ("0x01", "0x02", "0x03")

_UNKNOWN_TO_XAPI = (
    "xapi does not know these VFs before its toolstack restarts (`xe-toolstack-restart`) or the host "
    "reboots: a VM gets them all the same, but xapi would let it be suspended or migrated."
)


def set_vf_count(host: Host, session: Any, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `set_vf_count`."""
    wanted_pf = arguments.required("pf", arguments.pf(args))
    count = arguments.number(args, "count")
    force = arguments.boolean(args, "force", False)
    with host.lock("vfs", f"set_vf_count {wanted_pf}"):
        seen = inventory.look(host)
        pf = listing.find_pf(seen, wanted_pf)
        if count > pf.total_vfs:
            raise arguments.bad("count", args["count"], f"at most {pf.total_vfs}, what {pf.address} offers")
        pool = listing.read_pool(host, session, seen)
        own = [vf for vf in listing.vf_records(seen, pool) if vf["pf"] == pf.address]
        record = next(r for r in listing.pf_records(host, seen, pool) if r["address"] == pf.address)
        guards.states_are_known(seen.owners, pool)
        guards.pf_is_ours(record, network.may_carry_management(host, pf.interfaces))
        parameter = moduleparam.find(host, pf.driver)
        if count != len(own):
            guards.vfs_are_not_used(own, force)
            if parameter is None:
                _sysfs_is_open(host, pf, count)
        config = hostconfig.read(host)
        mac = identity.permanent_mac(host, pf)
        document = _with_count(config, pf.address, mac, count)
        if parameter is None:
            changed = _now_and_at_boot(host, pf, config, document, count, len(own))
            reboot = False
        else:
            reboot = changed = _by_parameter(host, seen, pf, parameter, count)
            hostconfig.replace(host, config, document)
        after = len(vfs.present(host, pf.address))
        return {
            "pf": pf.address,
            "before": len(own),
            "after": after,
            "changed": changed or document.lines != config.document.lines,
            "reboot_required": reboot,
            **_toolstack(host, session, seen, pf),
        }


def _sysfs_is_open(host: Host, pf: pci.PhysicalFunction, count: int) -> None:
    """A PF whose VFs something else makes is adopted as it is, and never written."""
    if not host.is_writable(f"{pci.DEVICES}/{pf.address}/sriov_numvfs"):
        raise SriovError(
            "SRIOV_KERNEL_REFUSED",
            f"The VFs of {pf.address} are made by something else: sriov_numvfs is not writable, so it cannot "
            f"get {count}.",
            f"Call with count={pf.num_vfs} to keep those that there are, or change it where they are made.",
        )


def _with_count(config: HostConfig, address: str, mac: Optional[str], count: int) -> ini.Document:
    """The file with the PF's section, or without any of its sections for 0. A section that means the
    same port at its former place moves with it."""
    document = config.document
    for other in config.pfs.values():
        same = other.address == address or (mac is not None and other.mac == mac)
        if same and (count == 0 or other.address != address):
            moved = other.settings if count else {}
            for number, settings in other.settings.items():
                document = ini.without(document, hostconfig.vf_section(other.address, number))
                values = {name: vfsettings.as_text(value) for name, value in settings.items()}
                if number in moved:
                    section = hostconfig.vf_section(address, number)
                    document = ini.changed(document, section, dict(values))
            document = ini.without(document, hostconfig.pf_section(other.address))
    if count:
        document = ini.changed(document, hostconfig.pf_section(address), {"mac": mac, "vfs": str(count)})
    return document


def _now_and_at_boot(
    host: Host, pf: pci.PhysicalFunction, before: HostConfig, document: ini.Document, count: int, now: int
) -> bool:
    """The file first: a host that dies in the middle gets at its boot what was asked for. If the
    kernel refuses, the file is put back."""
    pciback.load(host)
    hostconfig.replace(host, before, document)
    wanted = hostconfig.interpret(document).pfs.get(pf.address, hostconfig.PfConfig(pf.address, None, 0, {}))
    there = vfs.present(host, pf.address)
    untaken = [vf for vf in there if host.link(f"{pci.DEVICES}/{vf}/driver") != pci.PCIBACK]
    try:
        restore.one_pf(host, wanted, pf)
    except BaseException as error:
        hostconfig.replace(host, hostconfig.read(host), before.document)
        restore.remember(host, {pf.address: str(error)})
        if isinstance(error, OSError):
            raise SriovError(
                "SRIOV_KERNEL_REFUSED",
                f"The kernel refused a step for {pf.address}: {error.strerror} ({error.filename}).",
                "See the kernel's log (`dmesg`) and list_vfs.",
            ) from error
        raise
    restore.remember(host, {pf.address: None})
    host.log(f"{pf.address}: {count} VFs, {now} before")
    return count != now or bool(untaken)


def _by_parameter(
    host: Host,
    seen: inventory.Inventory,
    pf: pci.PhysicalFunction,
    parameter: moduleparam.Parameter,
    count: int,
) -> bool:
    """Writes the driver's file for the next load of the driver; whether that changed it."""
    if parameter.maximum is not None and count > parameter.maximum:
        raise arguments.bad("count", str(count), f"at most {parameter.maximum}, by {parameter.path}")
    ports = [other.address for other in seen.pfs if other.driver == pf.driver]
    is_array = moduleparam.is_array(host, parameter)
    values = parameter.values(len(ports))
    if is_array:
        values[ports.index(pf.address)] = count
    else:
        values = [count]
    text = parameter.with_values(values, is_array)
    if text == parameter.text:
        return False
    moduleparam.write(host, parameter, text)
    return True


def _toolstack(
    host: Host, session: Any, seen: inventory.Inventory, pf: pci.PhysicalFunction
) -> Dict[str, Any]:
    """Whether xapi has yet to learn of VFs that there are now; and the copy of the file."""
    warnings: List[str] = []
    unknown, host_ref, xapi = False, "", Xapi(host, session)
    there = vfs.present(host, pf.address)
    kind = host.text(f"{pci.DEVICES}/{pf.address}/class") or ""
    try:
        host_ref = xapi.call("host.get_by_uuid", seen.host_uuid)
        records = xapi.call("PCI.get_all_records_where", f'field "host" = "{host_ref}"')
        known = {record["pci_id"] for record in records.values()}
        unknown = kind.startswith(_CLASSES_OF_XAPI) and not known.issuperset(there)
        missed = poolcopy.store(host, xapi, host_ref)
        warnings += [missed] if missed else []
    except Exception as error:  # the client's errors have no common class, and the VFs are made
        host.log(f"xapi did not answer after set_vf_count: {error}")
        unknown = bool(there)
    if unknown:
        warnings.append(_UNKNOWN_TO_XAPI)
    return {"toolstack_restart_required": unknown, "warnings": warnings}
