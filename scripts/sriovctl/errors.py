"""What a user sees of a failure, and the exit status of each outcome."""

import re
from typing import Any, Dict, Sequence, Tuple

from sriovlib.errors import SriovError
from sriovlib.safetext import safe

DONE = 0  # or it was so already
FAILED = 1
USAGE = 2  # argparse's too
PARTLY = 4  # done for some of the objects that were named


class Failed(SriovError):
    """A command, or its part for one object, has failed: the plugin's own error, or one of the client."""

    def about(self, what: str) -> "Failed":
        """The same, of this object: what a plugin says of its own host does not name it."""
        return Failed(self.code, f"{what}: {self.message}", self.hint)


class Usage(Failed):
    """What was typed is not understood: exit status 2."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("USAGE", message, hint)


NO_ANSWER = "NO_ANSWER"  # nothing is known
INTERRUPTED = "INTERRUPTED"
RESTARTING = "SRIOV_RESTARTING"


def as_failed(error: BaseException) -> Failed:
    """Of a Failed or a KeyboardInterrupt."""
    return error if isinstance(error, Failed) else Failed(INTERRUPTED, "Interrupted.")


class Restarting(Failed):
    """Our hook ended a start that would plug the wrong VFs, and queued another one: the UUID of its task."""

    def __init__(self, task: str, message: str, hint: str = "") -> None:
        super().__init__(RESTARTING, message, hint)
        self.task = task


class XapiFailed(Exception):
    """What xapi answered instead of a result: a code and its details."""

    def __init__(self, details: Sequence[Any]) -> None:
        self.details = [str(detail) for detail in details]
        super().__init__(*self.details)


class Unreachable(Exception):
    """No answer of xapi: no connection, none in time, or one that was cut off."""


_INSTALL = "Install the package there: `sriovctl install RPM HOST`."
# xapi's own codes (xen-api: ocaml/idl/datamodel_errors.ml); {0} is the host or pool that was asked, {1} and
# so on are the details.
_SENTENCES: Dict[str, Tuple[str, str]] = {
    "XENAPI_MISSING_PLUGIN": ("{0} has no plugin {1}: xapi-sriov is not installed there.", _INSTALL),
    "XENAPI_PLUGIN_FAILURE": ("The plugin of {0} ended without an answer: {3}.", "See the log of that host."),
    "HOST_OFFLINE": ("{0} is offline.", "Check its power and network."),
    "CANNOT_CONTACT_HOST": ("{0} does not answer the pool master.", "Check its power and network."),
    "HOST_STILL_BOOTING": (  # xapi.ml: also what a member says that has lost its master
        "{0} is still booting, or has lost its master.",
        "Call again when it is up, or name another host of the pool.",
    ),
    "HOST_DISABLED": ("{0} is disabled.", "Enable it: `xe host-enable uuid=HOST`."),
    "RBAC_PERMISSION_DENIED": (
        "This user of {0} may not call {1}.",
        "Plugin calls take the role pool-admin: log in as a user who has it.",
    ),
    "SESSION_AUTHENTICATION_FAILED": ("{0} refused user or password.", "Check both, then call again."),
    "SESSION_INVALID": ("{0} has ended the session.", "Call again."),
    "VM_BAD_POWER_STATE": ("The VM is {3}, and must be {2} for that.", "Change its state, then call again."),
    "UUID_INVALID": ("{0} has no {1} with UUID {2}.", "Check the UUID."),
    "HANDLE_INVALID": ("{0} has that {1} no more: it was removed meanwhile.", "Call again."),
    "NO_HOSTS_AVAILABLE": ("No other host of {0} is enabled and can take it.", "Enable another host."),
    "HOST_NOT_ENOUGH_FREE_MEMORY": (
        "{0} has not enough free memory for the VM.",
        "Shut a VM down, or move it.",
    ),
    # why xapi does not start a VM on a host (xapi_vm_helpers.ml, assert_can_boot_here)
    "HOST_NOT_LIVE": ("{0} is not live.", "Check its power and network."),
    "HOST_NOT_ENOUGH_PCPUS": ("{0} has {2} CPUs, and the VM has {1}.", "Give the VM fewer (VCPUs-max)."),
    "VM_REQUIRES_SR": (
        "{0} has no access to the storage of one of the VM's disks.",
        "Plug that storage there (`xe pbd-plug uuid=PBD`), or move the disk to shared storage.",
    ),
    "VM_REQUIRES_NETWORK": (
        "{0} has no port in the network of one of the VM's VIFs.",
        "Give it one, or put the VIF into a network that all hosts have.",
    ),
    "VM_REQUIRES_GPU": ("{0} has no GPU for the VM's vGPU.", "Take the vGPU away, or use another host."),
    "VM_REQUIRES_IOMMU": (
        "{0} has no IOMMU, and the VM has devices that need one.",
        "`sriovctl doctor` says why.",
    ),
    "VM_INCOMPATIBLE_WITH_THIS_HOST": (
        "The CPUs of {0} lack features that the VM runs with.",
        "Shut the VM down: it is started with what the CPUs there have.",
    ),
    "VM_HOST_INCOMPATIBLE_VERSION": ("{0} has an older version.", "Finish the upgrade of the pool."),
    # why it does not move it, or what else was asked of it (xapi_vm_lifecycle.ml, check_operation_error)
    "OPERATION_BLOCKED": (
        "That is blocked: {2}.",
        "`xe vm-param-get uuid=VM param-name=blocked-operations` lists all that is blocked.",
    ),
    "OTHER_OPERATION_IN_PROGRESS": ("{0} is at another operation with it: {3}.", "Wait for that."),
    "VM_HAS_PCI_ATTACHED": ("The VM has VFs or other PCI devices.", "It moves when it is shut down."),
    "VM_HAS_VGPU": ("The VM has a vGPU that cannot be moved.", "It moves when it is shut down."),
    "VM_NO_SUSPEND_SR": (
        "There is no storage for the memory of the suspended VM.",
        "Name some: `xe pool-param-set uuid=POOL suspend-image-SR=SR`.",
    ),
    "VM_IS_IMMOBILE": (
        "The VM was started with nested virtualization, or with nomigrate.",
        "It moves when it is shut down.",
    ),
    "VM_LACKS_FEATURE": ("The guest cannot do that: it has no tools, or old ones.", "Install them there."),
    "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN": (
        "HA forbids that: there would be no host any more for all the VMs that it protects.",
        "Protect fewer VMs, or make room on the hosts.",
    ),
}


def of_xapi(details: Sequence[Any], asked: str) -> Failed:
    """The failure that xapi or the plugin gave. `asked` names the host or pool: `host web1`."""
    code, *rest = [safe(str(detail)) for detail in details] or ["INTERNAL_ERROR"]
    if code == "XAPI_HOOK_FAILED" and len(details) > 3:
        first, *sentences = str(details[3]).splitlines() or [""]
        if first.startswith("SRIOV_"):  # our hook's: `CODE VM HOST [TASK]`, what happened, what to do
            code, *words = first.split()
            told = [safe(text) for text in sentences[:2] or [first]]
            return Restarting(words[-1], *told) if code == RESTARTING and words else Failed(code, *told)
    if code.startswith("SRIOV_") and rest:
        return Failed(code, rest[0], " ".join(rest[1:]))
    if code in _SENTENCES:
        message, hint = _SENTENCES[code]
        if code == "RBAC_PERMISSION_DENIED":  # rbac.ml: who may is in the middle of a sentence
            able = re.search(r"\(Roles with this permission: ([^()]+)\)", " ".join(rest[1:2]))
            hint = f"Log in as a user with a role that may: {able.group(1)}." if able else hint
        asked = asked[:1].upper() + asked[1:] if message.startswith("{0}") else asked
        details = [detail.rstrip(".") for detail in rest]  # a sentence, if somebody wrote it
        return Failed(code, message.format(asked, *details, *["?"] * 4), hint)
    told = [detail for detail in rest if not detail.startswith("OpaqueRef:")]  # they name nothing to a person
    said = ": ".join(filter(None, [code, ", ".join(told)]))
    return Failed(code, f"xapi refused a call to {asked}: {said}.", "")
