"""Hosts whose plugins are asked for inventories without a server, for tests of what is kept of their
answers."""

import json
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import pytest
from sriovlib.calls import table
from sriovlib.config import vf_settings
from sriovlib.machine.host import Host
from sriovlib.machine.pci import PhysicalFunction, VirtualFunction
from sriovlib.machine.ports import Port, VfPort
from sriovlib.pool import host_answers, inventories
from sriovlib.pool.hosts import Member, Topology
from sriovlib.pool.inventories import Survey
from sriovlib.pool.networks import NULL
from sriovlib.vf import host_inventory
from sriovlib.vf.inventory_json import HostInventory, Owner, PfState, PortState, VfState
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import XapiFailure, XapiSilent

NETWORK = {"uuid": "10000000-0000-4000-8000-000000000000", "name_label": "lan", "bridge": "xenbr1"}
CURRENT, BEFORE_DIGESTS, ODD, NONE = range(4)  # packages
HOSTS = 4


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-00000000000{number}"


class FarHost:
    """A host: what is true of it, and the package that tells it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.uuid = uuid_of(number)
        self.package = CURRENT
        self.silent = False
        self.version = "0.1.0"
        self.owners: Dict[int, str] = {}  # number of a VF -> the VM whose domain has it
        self.starting: Dict[str, str] = {}
        self.owners_known = True
        self.vfs = 4
        self.driver = "pciback"  # of its VFs
        self.management = False
        self.link_up = True
        self.managed = False  # by xapi's own SR-IOV
        self.is_gpu = False
        self.cpu_nodes: Dict[int, Optional[int]] = {0: 0, 1: None}
        self.own_digest: Any = None  # the one that it gives, where that is another than it should be
        self.whole = 0  # answers

    def inventory(self) -> HostInventory:
        pf, port = "0000:07:00.0", Port(0, "eth1", False, None)
        ids = ("8086", "10fb", "ixgbe", 0)
        pci_class = "030000" if self.is_gpu else "020000"
        function = PhysicalFunction(pf, *ids, 8, self.vfs, ("eth1",), pci_class, (port,), ("eth1",), None)
        ports = (PortState(port, f"02:00:00:00:00:0{self.number}", self.link_up, 10000),)
        vfs = [self._vf(pf, number) for number in range(self.vfs)]
        return HostInventory(
            version=self.version,
            host_uuid=self.uuid,
            owners_known=self.owners_known,
            pfs={pf: PfState(function, "82599 \u00e9", 4, self.management, ports, [])},
            vfs={vf.address: vf for vf in vfs},
            others=["0000:00:1f.2"],
            interfaces={"eth1": pf},
            starting=dict(self.starting),
            needed={pf: ["the network"]},
            cpu_nodes=dict(self.cpu_nodes),
            domains=sorted(self.owners.values()) if self.owners_known else None,
        )

    def _vf(self, pf: str, number: int) -> VfState:
        function = VirtualFunction(
            f"0000:07:10.{number}", number, pf, "8086", "10ed", self.driver, 0, VfPort("eth1")
        )
        owner = Owner(self.owners[number] or None, "web") if number in self.owners else None
        state = "in-use" if owner else "dom0" if self.driver == "ixgbevf" else None
        return VfState(function, None, vf_settings.UNKNOWN, None, state, owner)

    def answer(self, args: Mapping[str, str]) -> Any:
        if self.silent:
            return XapiSilent("timed out")
        if self.package == NONE:
            return XapiFailure(["XENAPI_MISSING_PLUGIN", "sriov"])
        if self.package == BEFORE_DIGESTS and args:
            return XapiFailure(["SRIOV_BAD_ARGUMENT", "inventory has no argument `known`.", "It takes none."])
        if self.package == ODD:
            return '{"digest": "of another kind"}'
        if self.own_digest is not None:
            return self._answer_with_own_digest(args)
        told = table.call(Host(self.uuid), "inventory", OwnSession(""), args)
        self.whole += len(told) > 100
        return told if self.package == CURRENT else told.partition(', "digest"')[0] + "}"

    def _answer_with_own_digest(self, args: Mapping[str, str]) -> str:
        if args.get("known") == self.own_digest:
            return json.dumps({"digest": self.own_digest})
        self.whole += 1
        return json.dumps({**self.inventory().to_json(), "digest": self.own_digest})


class ToldPool:
    def __init__(self, folder: str) -> None:
        self.hosts = [FarHost(number) for number in range(HOSTS)]
        self.folder = folder
        self.anew = 0
        self.asked_by = 0  # the host whose process asks
        self.present = set(range(HOSTS))
        self.order: List[str] = []  # of calls to hosts, and their answers

    def kept(self, master: int) -> Host:
        """The dom0 of that host, where it keeps what it was told."""
        return Host(f"{self.folder}/{master}")

    def called(self, ref: str) -> FarHost:
        """The host of that reference."""
        return self.hosts[int(ref[-1])]

    def survey(self, master: int, host: Host, meanwhile: Callable[[], object] = lambda: None) -> Survey:
        self.asked_by = master
        members = {
            one.uuid: Member(f"ref {one.number}", one.uuid, f"host{one.number}", True, _pifs(one))
            for one in self.hosts
            if one.number in self.present
        }
        topology = Topology(uuid_of(master), members, {"lan": NETWORK})
        return inventories.survey(host, OwnSession(""), topology, topology.live, meanwhile)

    def truth(self, master: int) -> Survey:
        """As a master finds it that keeps nothing."""
        self.anew += 1
        return self.survey(master, Host(f"{self.folder}/anew-{self.anew}"))


def _pifs(host: FarHost) -> Dict[str, Any]:
    sriov = ["sriov"] if host.managed else []
    pif = {"device": "eth1", "network": "lan", "physical": True, "VLAN": "-1", "host": f"ref {host.number}"}
    bonds = {"bond_slave_of": NULL, "bond_master_of": [], "tunnel_access_PIF_of": []}
    return {
        "pif": {**pif, **bonds, "sriov_physical_PIF_of": sriov, "sriov_logical_PIF_of": [], "MAC": ""},
    }


def values(found: Survey) -> Any:
    """All that can be read of a survey."""
    sure = found.without_unknown([(uuid_of(0), "0000:07:10.0")])
    hosts = {
        uuid: (one.inventory, one.candidates, one.closed, one.untagged, one.told.version)
        for uuid, one in sorted(found.hosts.items())
    }
    return hosts, found.problems, found.running(), found.starting(), sure.candidates


def patched(patch: pytest.MonkeyPatch, pool: ToldPool) -> None:
    """Calls to hosts, and looks at a machine, are answered by the pool's hosts."""

    class Calls:
        def __init__(self, _host: Host, _session: OwnSession, _seconds: float) -> None:
            self._made: List[Tuple[str, Any]] = []

        def make(self, name: str, _method: str, ref: str, _plugin: str, _function: str, args: Any) -> None:
            pool.order.append(f"{ref} is asked")
            self._made.append((name, pool.called(ref).answer(args)))

        def __enter__(self) -> "Calls":
            return self

        def __exit__(self, *_exception: object) -> None:
            pass

        def answers(self) -> Any:
            pool.order.extend(f"{name} answers" for name, _ in self._made)
            return iter(self._made)

    def read(host: Host) -> HostInventory:
        by_uuid = {one.uuid: one for one in pool.hosts}
        return by_uuid.get(host.root, pool.hosts[pool.asked_by]).inventory()

    patch.setattr(host_answers, "Calls", Calls)
    patch.setattr(host_inventory, "read", read)
