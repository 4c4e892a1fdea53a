"""`release_vfs`: VFs of this host that a VM has left are set back, for the pool's master."""

from typing import Any, Dict, List, Mapping

from ..machine import xensource_inventory, xenstore
from ..machine.host import Host
from ..starts import release
from ..vf import start_notes
from ..xapi.own_session import OwnSession
from ..xapi.session import Xapi, XapiFailure, XapiSilent
from . import arguments


def release_vfs(host: Host, session: OwnSession, args: Mapping[str, str]) -> Dict[str, Any]:
    """The plugin's `release_vfs`, for the master when a VM's lease goes to another host: a guest that shut
    itself down ran no hook, so its MAC may still be here. `{vm_uuid, released: [address], not_released: [{vf,
    why}]}`; nothing is done while the VM runs here. `vfs`: addresses of its lease; without them, those
    that its last start here was given. What could not be set back stays noted, for the next time."""
    vm_uuid = arguments.required_uuid(args, "vm_uuid")
    left = arguments.addresses(args, "vfs")
    if start_notes.read(host, vm_uuid) is None and not left:
        return _answer(vm_uuid, [], {})
    with host.lock("vfs", f"release_vfs of {vm_uuid}"):
        noted = start_notes.read(host, vm_uuid)
        note = noted or start_notes.NO_NOTE
        asked = sorted({*note.settings, *left})
        owners = xenstore.owners(host)
        if owners is None:
            return _answer(
                vm_uuid, [], dict.fromkeys(asked, "xenstore does not tell which VMs have which VFs")
            )
        if any(domain.vm_uuid == vm_uuid for domain in owners.values()):
            return _answer(vm_uuid, [], dict.fromkeys(asked, "the VM runs here"))
        if noted and _starts(host, session, vm_uuid):
            return _answer(vm_uuid, [], dict.fromkeys(asked, "the VM is being started here"))
        others = release.of_others(host, vm_uuid, note)
        kept = {vf: "another VM is being started with it, or was" for vf in asked if vf in others}
        kept.update({vf: "a running VM has it" for vf in asked if vf in owners})
        released = [vf for vf in asked if vf not in kept]
        kept.update(release.end(host, vm_uuid, note, released))
    return _answer(vm_uuid, [vf for vf in released if vf not in kept], kept)


def _answer(vm_uuid: str, released: List[str], kept: Mapping[str, str]) -> Dict[str, Any]:
    not_released = [{"vf": vf, "why": kept[vf]} for vf in sorted(kept)]
    return {"vm_uuid": vm_uuid, "released": released, "not_released": not_released}


def _starts(host: Host, session: OwnSession, vm_uuid: str) -> bool:
    """Whether xapi is starting the VM on this host, or may be: its hook is through, and there is no domain
    yet (xen-api: scheduled_to_be_resident_on is set while a start is under way)."""
    try:
        xapi = Xapi(host, session, 10)
        own = xapi.call("host.get_by_uuid", xensource_inventory.read(host).get("INSTALLATION_UUID", ""))
        ref = xapi.call("VM.get_by_uuid", vm_uuid)
        return own in (
            xapi.call("VM.get_scheduled_to_be_resident_on", ref),
            xapi.call("VM.get_resident_on", ref),
        )
    except XapiFailure as failure:
        return failure.details[0] != "UUID_INVALID"  # a VM that is gone does not start
    except XapiSilent:
        return True
