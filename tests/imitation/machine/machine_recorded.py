"""A machine as it was recorded: its sysfs to the letter, the VFs' settings and the guests of that moment."""

import json
from typing import Any, Dict, List

import kernel_pciback
import machine
from kernel_net import VfSettings
from kernel_sysfs import Sysfs
from machine_build import add_loopback
from machine_description import recorded_description
from machine_tree import Recording, recording


def from_recording(folder: str, title: str) -> machine.Machine:
    """It goes on from there as any other; after a reboot it has no VFs."""
    found = recording(title)
    values = _xen_info(found)
    description = recorded_description(
        iommu="Intel VT-d" if "hvm_directio" in values["virt_caps"] else "",
        xen_options=values["xen_commandline"],
    )
    made = machine.create(folder, description)
    with made.changed() as sysfs:
        for top in ("bus", "class", "devices", "hypervisor"):
            sysfs.remove(f"/sys/{top}")
        sysfs.plant(found.tree)
        add_loopback(sysfs)
        modules = [line.split()[:2] for line in found.meta["lsmod"].splitlines()[1:]]
        sysfs.put("/proc/modules", "".join(f"{name} {size} 0 - Live 0x0\n" for name, size in modules))
        for name, _ in modules:
            sysfs.put(f"/sys/module/{name}/initstate", "live\n")
        links = json.loads(found.meta["ip_link_json"])
        sysfs.state["last_interface"] = max(link["ifindex"] for link in links)
        for link in links:
            if "vfinfo_list" in link:
                sysfs.state["vfs"][link["parentdev"]] = [_settings(vf) for vf in link["vfinfo_list"]]
        sysfs.state["domains"] = _domains(sysfs, found)
        sysfs.state["last_domain"] = len(sysfs.state["domains"])
    return made


def _xen_info(found: Recording) -> Dict[str, str]:
    pairs = [line.partition(":") for line in found.meta["xl_info"].splitlines()]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _settings(shown: Dict[str, Any]) -> Dict[str, Any]:
    """A VF of `ip -json link`."""
    vlan = shown["vlan_list"][0]
    values = VfSettings(
        mac=shown["address"],
        vlan=vlan.get("vlan", 0),
        qos=vlan.get("qos", 0),
        max_rate=shown["rate"]["max_tx"],
        min_rate=shown["rate"]["min_tx"],
        spoof_check=shown["spoofchk"],
        link_state=shown["link_state"],
        trust=shown["trust"],
    )
    return dict(values._asdict())


def _domains(sysfs: Sysfs, found: Recording) -> Dict[str, Any]:
    """The one guest of `xl list`, if there is one, has what pciback holds; it had no VM of a pool, so
    it gets a UUID here."""
    held: List[str] = [entry for entry in sysfs.names(kernel_pciback.FOLDER) if ":" in entry]
    guests = [line.split() for line in found.meta["xl_list"].splitlines()[2:]]
    uuid = "d1d1d1d1-0000-4000-8000-000000000001"
    return {number: {"uuid": uuid, "name": name, "devices": held} for name, number, *_ in guests}
