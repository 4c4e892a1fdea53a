"""What a host tells its pool: its PFs and VFs as one type, and as the JSON of its `inventory`."""

from _operator import itemgetter  # operator itself is a hundred functions
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ..config import vf_settings
from ..config.vf_settings import VfSettings
from ..errors import Problem
from ..machine.pci import PhysicalFunction, VirtualFunction
from ..machine.ports import Port, VfPort

# Fields that the JSON has under their own names.
_OF_DEVICE = ("address", "vendor_id", "device_id", "driver", "numa_node")
_OF_PF = (*_OF_DEVICE, "pci_class", "total_vfs", "num_vfs", "guid", "interfaces", "settings_interfaces")
_OF_PF_STATE = ("description", "configured_vfs", "management")
# Of a VF: for VirtualFunction and VfPort, for VfState, and for VfSettings, whose fields are in that order.
_function = itemgetter(
    "address", "index", "pf", "vendor_id", "device_id", "driver", "numa_node", "interface", "no_port"
)
_state = itemgetter("description", "no_settings", "state", "assigned_to", "configured_mac")
_settings = itemgetter(*vf_settings.NAMES)


def _picked(told: Mapping[str, Any], names: Iterable[str]) -> Dict[str, Any]:
    return {name: told[name] for name in names}


def _texts(told: Any) -> Dict[str, str]:
    found = dict(told)
    if not all(isinstance(text, str) for text in found.values()):
        raise TypeError("something else in the place of a text")
    return found


class OtherPlugin(Exception):
    """What a host answered is no inventory as this version tells it."""


class Owner(NamedTuple):
    """The VM that has a VF: of a running domain without `power_state`, which is xapi's to tell."""

    vm_uuid: Optional[str]
    vm_name: Optional[str]
    power_state: Optional[str] = None


class VfState(NamedTuple):
    """A VF with its settings and who has it. `state` is one of `inventory.STATES`, None where it takes xapi
    to tell; `no_settings` says in a sentence why the VF can have none."""

    function: VirtualFunction
    description: Optional[str]
    settings: VfSettings
    no_settings: Optional[str]
    state: Optional[str]
    assigned_to: Optional[Owner]
    configured_mac: Optional[str] = None  # by /etc/sriov.conf

    @property
    def address(self) -> str:
        return self.function.address

    @property
    def device(self) -> str:
        return self.function.device

    def to_json(self) -> Dict[str, Any]:
        """With the keys of `list_vfs`, less `network`, and with `configured_mac`."""
        vf = self.function
        return {  # of hundreds of VFs: one dict, and each value taken once
            "address": vf.address,
            "index": vf.number,
            "pf": vf.pf,
            "interface": vf.port.interface,
            "vendor_id": vf.vendor_id,
            "device_id": vf.device_id,
            "description": self.description,
            "driver": vf.driver,
            "numa_node": vf.numa_node,
            "no_port": vf.port.why,
            "no_settings": self.no_settings,
            **dict(zip(vf_settings.NAMES, self.settings)),
            "state": self.state,
            "assigned_to": self.assigned_to._asdict() if self.assigned_to else None,
            "configured_mac": self.configured_mac,
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> "VfState":
        """In a pool there are thousands, so values are taken by their places."""
        address, index, pf, vendor, device, driver, node, interface, no_port = _function(told)
        description, no_settings, state, owner, configured_mac = _state(told)
        return VfState(
            VirtualFunction(address, index, pf, vendor, device, driver, node, VfPort(interface, no_port)),
            description,
            VfSettings(*_settings(told)),
            no_settings,
            state,
            Owner(**owner) if owner else None,
            configured_mac,
        )


class PortState(NamedTuple):
    """A port, and how it is now. `mac`: of an Ethernet port; `speed`: in Mbit/s, None without a link."""

    port: Port
    mac: Optional[str]
    link_up: Optional[bool]
    speed: Optional[int]

    def to_json(self) -> Dict[str, Any]:
        return {
            "number": self.port.number,
            "interface": self.port.interface,
            "mac": self.mac,
            "guid": self.port.guid,
            "link_layer": "infiniband" if self.port.infiniband else "ethernet",
            "link_up": self.link_up,
            "speed": self.speed,
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> "PortState":
        is_infiniband = told["link_layer"] == "infiniband"
        port = Port(told["number"], told["interface"], is_infiniband, told["guid"])
        return PortState(port, told["mac"], told["link_up"], told["speed"])


class PfState(NamedTuple):
    """A PF with its ports and all that keeps it from having VFs, or its VFs from VMs."""

    function: PhysicalFunction
    description: Optional[str]
    configured_vfs: Optional[int]  # by /etc/sriov.conf
    management: Optional[bool]  # it carries the management network; None: it may
    ports: Tuple[PortState, ...]
    problems: List[Problem]

    @property
    def address(self) -> str:
        return self.function.address

    @property
    def mac(self) -> Optional[str]:
        """Of the first port."""
        return self.ports[0].mac if self.ports else None

    def to_json(self) -> Dict[str, Any]:
        """With the keys of `list_pfs`, less those that only xapi knows, and with what the pool needs
        besides."""
        first = self.ports[0] if self.ports else None
        return {
            **_picked(self.function._asdict(), _OF_PF),
            "interface": self.function.interface,
            "mac": self.mac,
            "link_up": first.link_up if first else None,
            "speed": first.speed if first else None,
            "ports": [port.to_json() for port in self.ports],
            **_picked(self._asdict(), _OF_PF_STATE),
            "problems": [problem._asdict() for problem in self.problems],
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> "PfState":
        ports = tuple(PortState.from_json(port) for port in told["ports"])
        function = PhysicalFunction(ports=tuple(one.port for one in ports), **_picked(told, _OF_PF))
        return PfState(
            function._replace(
                interfaces=tuple(function.interfaces),
                settings_interfaces=tuple(function.settings_interfaces),
            ),
            ports=ports,
            problems=[Problem(**problem) for problem in told["problems"]],
            **_picked(told, _OF_PF_STATE),
        )


class HostInventory(NamedTuple):
    """The answer of the plugin's `inventory`."""

    version: str
    host_uuid: Optional[str]
    owners_known: bool  # false where xenstore does not answer
    pfs: Dict[str, PfState]  # by address, as are the VFs
    vfs: Dict[str, VfState]
    others: List[str]  # addresses of all other PCI devices
    interfaces: Dict[str, str]  # dom0's interface -> its PCI device
    starting: Dict[str, str]  # address -> UUID of the VM whose start with it was let through
    needed: Dict[str, List[str]]  # address -> what dom0 needs it for, in parts of a sentence
    cpu_nodes: Mapping[int, Optional[int]] = {}  # physical CPU -> its NUMA node; none where Xen did not tell
    domains: Optional[List[str]] = None  # UUIDs of the VMs that have a domain; None: xenstore did not tell
    # PF, or "host" -> why restore failed there (pf_notes); None: an earlier version does not tell
    failures: Optional[Mapping[str, str]] = None

    def pf(self, wanted: str) -> Optional[PfState]:
        """By address or interface."""
        return self.pfs.get(wanted) or next(
            (pf for pf in self.pfs.values() if wanted in pf.function.interfaces), None
        )

    def pf_of(self, vf: VfState) -> PfState:
        return self.pfs[vf.function.pf]

    def port_of(self, vf: VfState) -> Optional[PortState]:
        """The port that the VF is on; where that is not known the PF's first."""
        ports = self.pf_of(vf).ports
        own = (one for one in ports if one.port.interface == vf.function.port.interface)
        return next(own, ports[0] if ports else None)

    def to_json(self) -> Dict[str, Any]:
        return {
            **self._asdict(),
            "pfs": [pf.to_json() for pf in self.pfs.values()],
            "vfs": [vf.to_json() for vf in self.vfs.values()],
            "cpu_nodes": {str(cpu): node for cpu, node in self.cpu_nodes.items()},
        }

    @staticmethod
    def from_json(told: Any) -> "HostInventory":
        """What another host's `inventory` answered; raises OtherPlugin."""
        try:
            found = HostInventory(
                version=str(told["version"]),
                host_uuid=told["host_uuid"],
                owners_known=bool(told["owners_known"]),
                pfs={pf["address"]: PfState.from_json(pf) for pf in told["pfs"]},
                vfs={vf["address"]: VfState.from_json(vf) for vf in told["vfs"]},
                others=list(told["others"]),
                interfaces=_texts(told["interfaces"]),
                starting=_texts(told["starting"]),
                needed={address: list(what) for address, what in told["needed"].items()},
                cpu_nodes={int(cpu): node for cpu, node in told.get("cpu_nodes", {}).items()},
                domains=None if told.get("domains") is None else list(told["domains"]),
                failures=None if told.get("failures") is None else _texts(told["failures"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OtherPlugin(f"{type(error).__name__}: {error}") from error
        if not found.pfs.keys() >= {vf.function.pf for vf in found.vfs.values()}:
            raise OtherPlugin("a VF of a PF that is not listed")
        return found
