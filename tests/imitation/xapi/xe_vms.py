"""The commands of xe that start, stop and clone VMs. Imitates plugin-cli.json."""

from typing import Callable, Dict, List

from client import Client
from xe_words import Command, CommandError, Parameters

_FORCE = "--force"


def _vms(client: Client, parameters: Parameters) -> List[str]:
    """The VMs that the parameters select: by uuid or name, else all; more than one only by --multiple."""
    wanted = {"uuid": parameters.get("uuid"), "name_label": parameters.get("name-label")}
    records = client.call("VM.get_all_records")
    found = [
        ref
        for ref, record in records.items()
        if not (record["is_a_template"] or record["is_a_snapshot"])
        and all(value is None or record[field] == value for field, value in wanted.items())
    ]
    if not found:
        raise CommandError("Error: No matching VMs found")
    if len(found) > 1 and "--multiple" not in parameters:
        needed = "--multiple required to complete the operation"
        raise CommandError(f"Error: Multiple matches VMs found. {needed}")
    return found


def _start(client: Client, parameters: Parameters) -> str:
    """On the host named by `on`, if it is given."""
    for vm in _vms(client, parameters):
        if "on" in parameters:
            hosts = client.call("host.get_by_name_label", parameters["on"])
            if not hosts:
                raise CommandError("Error: No matching hosts found")
            client.call("VM.start_on", vm, hosts[0], False, _FORCE in parameters)
        else:
            client.call("VM.start", vm, False, _FORCE in parameters)
    return ""


def _ending(clean: str, hard: str) -> Callable[[Client, Parameters], str]:
    def end(client: Client, parameters: Parameters) -> str:
        for vm in _vms(client, parameters):
            client.call(hard if _FORCE in parameters else clean, vm)
        return ""

    return end


def _clone(client: Client, parameters: Parameters) -> str:
    selected = {"uuid": parameters.get("uuid", parameters.get("vm", ""))}
    (vm,) = _vms(client, selected)
    made = client.call("VM.clone", vm, parameters["new-name-label"])
    return str(client.call("VM.get_uuid", made)) + "\n"


def _uninstall(client: Client, parameters: Parameters) -> str:
    """The real one asks whether it may, unless it is forced."""
    vms = _vms(client, parameters)
    records = {vm: client.call("VM.get_record", vm) for vm in vms}
    for vm, record in records.items():
        if record["power_state"] != "Halted":
            client.call("VM.hard_shutdown", vm)
        client.call("VM.destroy", vm)
    listed = [f"VM : {record['uuid']} ({record['name_label']})" for record in records.values()]
    return "\n".join(["The following items are about to be destroyed", *listed, "All objects destroyed", ""])


COMMANDS: Dict[str, Command] = {
    "vm-start": Command(_start),
    "vm-shutdown": Command(_ending("VM.clean_shutdown", "VM.hard_shutdown")),
    "vm-reboot": Command(_ending("VM.clean_reboot", "VM.hard_reboot")),
    "vm-suspend": Command(_ending("VM.suspend", "VM.suspend")),
    "vm-clone": Command(_clone, ("new-name-label",)),
    "vm-uninstall": Command(_uninstall),
}
