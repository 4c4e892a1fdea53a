"""What is measured: one run of each, on a measured host, and how the host is made ready for it. That an
answer is the whole one is looked at in each run."""

import json
import os
from typing import Any, Iterable, List, Tuple

from bench.machines import given, virtual_functions
from bench.measure import Sample, WentWrong
from bench.measured_host import DOM0, MeasuredHost

SETTINGS = "mac = 02:00:00:00:{port:02x}:{number:02x}\nvlan = {tag}\ntrust = on\n"


def _must(is_so: object, what: str, answer: Any) -> None:
    if not is_so:
        raise WentWrong(f"{what}: {json.dumps(answer)[:2000]}")


def nothing_to_prepare(_host: MeasuredHost) -> None:
    """Nothing."""


# -- floors ----------------------------------------------------------------------------------------


def nothing(host: MeasuredHost) -> Sample:
    return host.nothing()


def python(host: MeasuredHost) -> Sample:
    return host.python("-c", "pass")


def log_in(host: MeasuredHost) -> Sample:
    return host.python(os.path.join(DOM0, "log-in"), host.socket)


def client_help(host: MeasuredHost) -> Sample:
    sample = host.python(host.tree.client, "--help")
    _must("usage" in host.output(), "no help", host.output())
    return sample


# -- one host ----------------------------------------------------------------------------------------


def prepare_guests(host: MeasuredHost) -> None:
    """The host's VFs are as `set_vf_count` leaves them, also in its file."""
    host.pool("fill", host.size.vms, given(host.size.vfs))
    _configure(host, (f"[pf {pf}]\nvfs = {len(vfs)}\n" for pf, vfs in _made(host)))
    host.learn(inventory)


def _made(host: MeasuredHost) -> Iterable[Tuple[str, List[str]]]:
    return virtual_functions(host.size.vfs).items()


def _configure(host: MeasuredHost, sections: Iterable[str]) -> None:
    with open(host.folder + "/etc/sriov.conf", "w", encoding="utf-8") as file:
        file.write("".join(sections))


def inventory(host: MeasuredHost) -> Sample:
    sample = host.plugin("inventory")
    answer = host.answer()
    _must(len(answer["vfs"]) == host.size.vfs, "VFs are missing", answer)
    return sample


def list_vfs(host: MeasuredHost) -> Sample:
    sample = host.plugin("list_vfs")
    states = [vf["state"] for vf in host.answer()]
    _must(len(states) == host.size.vfs and all(states), "VFs or their states are missing", states)
    return sample


# -- the pool ----------------------------------------------------------------------------------------


def prepare_leases(host: MeasuredHost) -> None:
    """VMs whose requests have VFs, as the tree's own first call writes that; and one VM for more."""
    host.kept["network"] = host.pool("network")
    sample = host.pool("vm", True)
    _assign(host, sample)
    host.kept["with VFs"] = 1 + host.pool("fill_alike", host.size.vms, sample)
    host.kept["vm"] = host.pool("vm")


def _assign(host: MeasuredHost, vm: str) -> Sample:
    sample = host.plugin("assign_vf", vm_uuid=vm, network=host.kept["network"])
    answer = host.answer()
    _must(answer["vf"] is not None, "no VF", answer)
    return sample


def assign(host: MeasuredHost) -> Sample:
    """What it has done is undone, which is not measured."""
    sample = _assign(host, host.kept["vm"])
    host.plugin("unassign_vf", vm_uuid=host.kept["vm"], all="true")
    host.answer()
    return sample


def assign_more(host: MeasuredHost) -> Sample:
    return _assign(host, host.pool("vm"))


def list_assignments(host: MeasuredHost) -> Sample:
    sample = host.plugin("list_assignments")
    answer = host.answer()
    with_vfs = host.kept["with VFs"]
    _must(len(answer["vms"]) == with_vfs, f"{len(answer['vms'])} VMs of {with_vfs}", answer["hosts"])
    _must(not answer["conflicts"], "there are conflicts", answer["conflicts"])
    return sample


def list_after_change(host: MeasuredHost) -> Sample:
    host.pool("rename", host.kept["vm"])
    return list_assignments(host)


# -- all hosts at once ---------------------------------------------------------------------------------


def survey(host: MeasuredHost) -> Sample:
    return _survey(host)


def survey_bare(host: MeasuredHost) -> Sample:
    return _survey(host, "bare")


def _survey(host: MeasuredHost, *how: str) -> Sample:
    """The program's start is not in the time: it would hide how well the hosts are asked. The CPU time is
    that of all that take part."""
    before = host.pool("cpu")
    sample = host.python(os.path.join(DOM0, "survey"), os.path.dirname(host.tree.plugin), *how)
    cpu = (sample.cpu or 0) + host.pool("cpu") - before
    found = json.loads(host.output())
    _must(found["vfs"] == host.size.hosts * host.size.vfs, "VFs are missing", found)
    return sample._replace(seconds=found["seconds"], cpu=cpu)


# -- starts --------------------------------------------------------------------------------------------


def prepare_start(host: MeasuredHost) -> None:
    host.pool("fill", host.size.vms, ())
    host.kept["vm"] = host.pool("vm")


def prepare_start_with_vf(host: MeasuredHost) -> None:
    prepare_leases(host)
    host.kept["vm"] = host.pool("vm", True)
    _assign(host, host.kept["vm"])
    host.remember()


def start_without(host: MeasuredHost) -> Sample:
    host.pool("start", host.kept["vm"])
    return host.hook("vm-pre-start", host.kept["vm"])


def start_with_vf(host: MeasuredHost) -> Sample:
    """The VM has ended since its last start; what the host keeps of xapi and the ledger is there."""
    note = f"{host.folder}/run/sriov/start-{host.kept['vm']}"
    if os.path.exists(note):
        os.unlink(note)
    return start_without(host)


# -- the boot service ----------------------------------------------------------------------------------


def prepare_restore(host: MeasuredHost) -> None:
    """Each VF is pciback's, and is to have a MAC, a VLAN and trust; it has none of them yet."""
    text = ""
    for port, (pf, vfs) in enumerate(_made(host)):
        text += f"[pf {pf}]\nvfs = {len(vfs)}\n"
        for number in range(len(vfs)):
            text += f"[vf {pf} {number}]\n{SETTINGS.format(port=port, number=number, tag=number + 1)}"
    _configure(host, [text])


def prepare_restored(host: MeasuredHost) -> None:
    prepare_restore(host)
    host.learn(restore)  # and the machine has the settings


def restore(host: MeasuredHost) -> Sample:
    host.as_it_was()
    return host.program(host.tree.restore)
