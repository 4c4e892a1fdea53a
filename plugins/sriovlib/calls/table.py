"""The plugin's functions and their arguments; runs one: text in, one JSON value or an error out."""

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from ..errors import SriovError, unforeseen
from ..machine.host import Host
from ..xapi.own_session import OwnSession
from . import arguments
from .answers import as_json

Arguments = Mapping[str, str]

SETTINGS = "mac vlan qos vlan_protocol min_tx_rate max_tx_rate spoof_check trust link_state"


class Function(NamedTuple):
    """A plugin function: the module of the library that has it, under its own name, and its arguments;
    whether it may write /etc/sriov.conf, of which the pool then gets a copy; whether it is a pool function,
    which the master does. A call imports what it needs: that is most of what a call costs."""

    module: str
    arguments: Tuple[str, ...] = ()
    writes: bool = False
    pool: bool = False
    seconds: Optional[float] = None  # that a member waits for the master, where it is no usual change

    def act(self, name: str, host: Host, session: OwnSession, args: Arguments) -> Any:
        function = getattr(__import__(f"sriovlib.{self.module}", fromlist=[name]), name)
        if self.pool:
            from ..pool import master

            return master.act(host, session, name, args, function, self.seconds or master.SECONDS)
        return function(host, session, args)


FUNCTIONS: Dict[str, Function] = {
    "enable_iommu": Function("calls.enable_iommu", ("dry_run",), writes=True),
    "disable_iommu": Function("calls.enable_iommu", ("dry_run",), writes=True),
    "load_pciback": Function("calls.load_pciback", ("persistent",), writes=True),
    "inventory": Function("calls.inventory", ("known",)),
    "list_pfs": Function("calls.list_vfs"),
    "list_vfs": Function("calls.list_vfs", ("pf", "network", "state", "vm_uuid")),
    "set_vf_count": Function("calls.set_vf_count", ("pf", "count", "force", "dry_run"), writes=True),
    "configure_vf": Function("calls.configure_vf", ("vf", *SETTINGS.split(), "dry_run"), writes=True),
    "status": Function("calls.status"),
    "release_vfs": Function("calls.release_vfs", ("vm_uuid", "vfs")),
    "unplug_vfs": Function("calls.plug_vfs", ("vm_uuid", "timeout")),
    "plug_vfs": Function("calls.plug_vfs", ("vm_uuid",)),
    "keep_passthrough": Function("calls.plug_vfs", ("vm_uuid",)),
    "assign_vf": Function(
        "calls.assign_vf",
        (
            *"vm_uuid vf pf network device host_uuid profile".split(),
            *SETTINGS.split(),
            *"request if_requests dry_run".split(),
        ),
        pool=True,
    ),
    "unassign_vf": Function("calls.unassign_vf", ("vm_uuid", "request", "vf", "all", "dry_run"), pool=True),
    "reinstate_vfs": Function(
        "calls.reinstate_vfs", ("vm_uuid", "host_uuid", "starting", "dry_run"), pool=True
    ),
    "park_vm": Function("calls.park_vm", ("vm_uuid", "dry_run"), pool=True),
    "adopt_vm": Function(
        "calls.adopt_vm", ("vm_uuid", "host_uuid", "origin_uuid", "trust_keys", "dry_run"), pool=True
    ),
    "migrate_vm": Function(
        "calls.migrate_vm",
        ("vm_uuid", "host_uuid", "timeout", "network_gap", "unconfirmed", "force", "dry_run"),
        pool=True,
        seconds=6 * 3600,  # a copy of the memory of a busy VM
    ),
    "detach_vfs": Function("calls.migrate_vm", ("vm_uuid", "timeout"), pool=True, seconds=1200),
    "attach_vfs": Function("calls.migrate_vm", ("vm_uuid",), pool=True, seconds=600),
    "guest_info": Function("calls.guest_info", ("vm_uuid",), pool=True),
    "list_assignments": Function("calls.list_assignments", ("vm_uuid", "host_uuid", "places"), pool=True),
}


def call(host: Host, name: str, session: OwnSession, args: Arguments) -> str:
    """The answer of function `name` as JSON text; raises SriovError and nothing else.

    An exception that nobody foresaw goes to the log with its traceback; the caller gets a sentence.
    """
    try:
        function = FUNCTIONS.get(name)
        if function is None:
            raise SriovError(
                "SRIOV_BAD_ARGUMENT",
                f"The plugin sriov has no function `{name[:80]}`.",
                f"It has {', '.join(sorted(FUNCTIONS))}.",
            )
        arguments.known_only(name, args, function.arguments)
        result = function.act(name, host, session, args)
        if function.writes and result.get("changed", True):
            _copy(host, session, result)
        return as_json(result)
    except SriovError:
        raise
    except Exception as error:
        raise unforeseen(name, error, host.log) from error


def _copy(host: Host, session: OwnSession, result: Dict[str, Any]) -> None:
    from ..pool import conf_copy

    missed = conf_copy.store(host, session)
    if missed and "warnings" in result:
        result["warnings"].append(missed)
