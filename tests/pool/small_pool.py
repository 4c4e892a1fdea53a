"""A session without a xapi: a pool of one host and some VMs, for tests of one host's calls. In some of their
file systems no socket can be."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List

import pytest
from sriovlib.xapi.own_session import OwnSession
from sriovlib.xapi.session import Xapi, XapiFailure

HOST = "OpaqueRef:host"


@contextmanager
def answering() -> Iterator[None]:
    """Whoever has a SmallPool for a session asks that in the place of a xapi."""
    real, real_for_each = Xapi.call, Xapi.call_for_each

    def call(xapi: Xapi, method: str, *params: Any) -> Any:
        if isinstance(xapi._session, SmallPool):
            return xapi._session.answer(method, params)
        return real(xapi, method, *params)

    def call_for_each(
        xapi: Xapi, member: str, take: Callable[[Any], object], method: str, *params: Any
    ) -> Any:
        if not isinstance(xapi._session, SmallPool):
            return real_for_each(xapi, member, take, method, *params)
        result = xapi._session.answer(method, params)
        for element in result.pop(member):
            take(element)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Xapi, "call", call)
        patch.setattr(Xapi, "call_for_each", call_for_each)
        yield


class SmallPool(OwnSession):
    """Answers what the library asks of xapi. `other_config` is the host's; of `known` it has PCI objects."""

    def __init__(self) -> None:
        super().__init__("OpaqueRef:session")
        self.vms: Dict[str, Dict[str, Any]] = {}
        self.managed: List[str] = []
        self.attached: List[str] = []
        self.known: List[str] = []
        self.ledger: Dict[str, str] = {}  # the pool's other_config
        self.other_config: Dict[str, str] = {}

    def add_vm(self, name: str, pci: str, power_state: str = "Halted") -> None:
        self.vms[name] = {
            "uuid": f"00000000-0000-4000-8000-{len(self.vms):012}",
            "name_label": name,
            "power_state": power_state,
            "other_config": {"pci": pci},
            "platform": {},
            "is_a_template": False,
            "is_a_snapshot": False,
            "affinity": "OpaqueRef:NULL",
            "resident_on": HOST if power_state != "Halted" else "OpaqueRef:NULL",
            "current_operations": {},
            "blocked_operations": {},
            "VCPUs_params": {},
            "VCPUs_max": "1",
            "metrics": "OpaqueRef:NULL",
            "is_control_domain": False,
        }

    def answer(self, method: str, params: Any) -> Any:
        if method == "VM.get_by_uuid":
            raise XapiFailure(["UUID_INVALID", "VM", params[0]])
        if method == "host.remove_from_other_config":
            return self.other_config.pop(params[1], "")
        if method == "host.add_to_other_config":
            return self.other_config.update({params[1]: params[2]})
        if method == "event.from":
            return self._events(params[0])
        host = {"name_label": "host", "enabled": True, "other_config": self.other_config}
        return {
            "host.get_by_uuid": HOST,
            "host.get_other_config": self.other_config,
            "host.get_all_records_where": {HOST: host},
            "host.get_all_records": {HOST: {"uuid": "another", "other_config": self.other_config}},
            "pool.get_all": ["OpaqueRef:pool"],
            "pool.get_master": HOST,
            "pool.get_other_config": self.ledger,
            "network.get_all_records": {},
            "PCI.get_all_records_where": {address: {"pci_id": address} for address in self.known},
            "PIF.get_all_records_where": {
                f"OpaqueRef:{device}": self._pif(device)
                for device in ("eth0", "eth1", "eth2", *self.attached)
            },
            "VM.get_all_records_where": self.vms,
        }[method]

    def _events(self, classes: List[str]) -> Dict[str, Any]:
        """All objects are new. It does not say when its xapi started, so nothing is kept of them."""
        pool = {"OpaqueRef:pool": {"master": HOST, "other_config": self.ledger, "gui_config": {}}}
        objects = {"pool": pool, "vm": self.vms}
        return {
            "events": [
                {"class": name, "operation": "add", "ref": ref, "snapshot": record}
                for name in classes
                for ref, record in objects[name].items()
            ],
            "token": "1,1",
            "valid_ref_counts": {name: len(known) for name, known in objects.items()},
        }

    def _pif(self, device: str) -> Dict[str, Any]:
        return {
            "device": device,
            "network": "OpaqueRef:network",
            "physical": True,
            "VLAN": "-1",
            "bond_slave_of": "OpaqueRef:NULL",
            "bond_master_of": [],
            "sriov_physical_PIF_of": ["OpaqueRef:sriov"] if device in self.managed else [],
            "sriov_logical_PIF_of": [],
            "currently_attached": device in self.attached,
        }
