"""What xenopsd of the box knows of VMs, when it is told, and by whom."""

import http.client
import json
import socket
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List
from urllib.parse import quote

import pytest
from box import PoolInABox
from box_host import BoxHost
from checks import until
from sriovlib.machine import xenopsd

ONE, TWO = "0000:07:10.0", "0000:07:10.2"


@pytest.fixture
def box(lone_iommu_box: PoolInABox) -> PoolInABox:
    return lone_iommu_box


def running(box: PoolInABox, pci: str, **values: Any) -> str:
    vm = box.add_vm("web", other_config={"pci": pci}, **values)
    box.start(vm)
    return vm


def uuid_of(box: PoolInABox, vm: str) -> str:
    return str(box.xapi.database.get("VM", vm, "uuid"))


def told(box: PoolInABox, vm: str) -> List[str]:
    """By xenopsd's files, as the product reads them."""
    return xenopsd.devices(box.master.machine, uuid_of(box, vm)) or []


def passthrough(box: PoolInABox, vm: str) -> bool:
    path = f"/run/nonpersistent/xenopsd/classic/VM/{uuid_of(box, vm)}/config"
    with open(box.master.machine.path(path)) as file:
        return bool(json.load(file)["ty"][1]["pci_passthrough"])


def set_pci(box: PoolInABox, vm: str, pci: str) -> None:
    box.xapi.call("VM.set_other_config", vm, {"pci": pci} if pci else {})


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def ask(host: BoxHost, method: str, **named: str) -> Any:
    """xenopsd's answer through the Unix socket of the host's xapi; an error is a list."""
    connection = UnixConnection(host.socket)
    body = xmlrpc.client.dumps(({"debug_info": "a test", **named},), method)
    connection.request("POST", "/services/xenops?session_id=any", body)
    response = connection.getresponse()
    assert response.status == 200
    answer: Any = xmlrpc.client.loads(response.read())[0][0]
    connection.close()
    return answer["Value"] if answer["Status"] == "Success" else answer["ErrorDescription"]


# -- told by xapi ------------------------------------------------------------------------------------


def test_xenopsd_hears_of_a_running_vms_entries_by_itself(box: PoolInABox) -> None:
    vm = running(box, f"0/{ONE}")
    set_pci(box, vm, f"0/{ONE},1/{TWO}")
    until(lambda: told(box, vm) == [ONE, TWO])


def test_a_reboot_by_xapi_waits_for_that_and_a_guests_own_does_not(box: PoolInABox) -> None:
    vm = running(box, "")
    with box.xapi_tells_late():
        set_pci(box, vm, f"0/{ONE}")
        box.reboot_from_inside(vm)
        assert (box.devices(vm), told(box, vm)) == ([], [])
        box.reboot(vm)
        assert box.devices(vm) == [ONE]
        set_pci(box, vm, f"0/{ONE},1/{TWO}")
    until(lambda: told(box, vm) == [ONE, TWO])


def test_entries_that_are_plugged_stay_and_the_flag_goes(box: PoolInABox) -> None:
    """Its record is written before it finds that it must not forget the device; and nobody tries again."""
    vm = running(box, f"0/{ONE}")
    set_pci(box, vm, "")
    until(lambda: not passthrough(box, vm))
    box.let_xenopsd_know(vm)
    known = box.xapi.life.xenopsd(box.xapi, box.master.ref).known(uuid_of(box, vm))
    assert known.addresses == [ONE]


def test_a_halted_vm_is_forgotten(box: PoolInABox) -> None:
    vm = running(box, f"0/{ONE}")
    box.shut_down(vm)
    assert xenopsd.devices(box.master.machine, uuid_of(box, vm)) is None


@pytest.mark.parametrize(("domain_type", "kept"), [("hvm", False), ("pv", True)])
def test_the_flag_is_there_for_entries_or_for_the_key(box: PoolInABox, domain_type: str, kept: bool) -> None:
    vm = box.add_vm("web", other_config={"pci": ""}, domain_type=domain_type)
    box.start(vm)
    assert passthrough(box, vm) is kept


# -- told by others ----------------------------------------------------------------------------------


def with_flag(box: PoolInABox, vm: str) -> Dict[str, Any]:
    metadata: Dict[str, Any] = json.loads(ask(box.master, "VM.export_metadata", id=uuid_of(box, vm)))
    del metadata["domains"]
    metadata["vm"]["ty"][1]["pci_passthrough"] = True
    return metadata


def test_what_others_have_told_stays_until_xapis_own_text_changes(box: PoolInABox) -> None:
    vm = running(box, "")
    answer = ask(box.master, "VM.import_metadata", metadata=json.dumps(with_flag(box, vm)))
    assert answer == uuid_of(box, vm)
    box.xapi.call("VM.set_other_config", vm, {"note": "which is in no metadata"})
    box.let_xenopsd_know(vm)
    assert passthrough(box, vm)
    box.xapi.call("VM.set_name_label", vm, "other")
    box.let_xenopsd_know(vm)
    assert not passthrough(box, vm)


def test_a_restarted_xapi_tells_it_all_again(box: PoolInABox) -> None:
    vm = running(box, "")
    ask(box.master, "VM.import_metadata", metadata=json.dumps(with_flag(box, vm)))
    box.xapi.restart_toolstack(box.master.ref)
    until(lambda: not passthrough(box, vm))


def test_errors_are_xenopsds_own(box: PoolInABox) -> None:
    assert ask(box.master, "VM.export_metadata", id="none") == ["Does_not_exist", ["VM", "none/config"]]
    vm = running(box, f"0/{ONE}")
    metadata = {**with_flag(box, vm), "pcis": []}
    assert ask(box.master, "VM.import_metadata", metadata=json.dumps(metadata)) == "Device_is_connected"


@pytest.mark.parametrize(("role", "status"), [("vm-operator", 403), ("vm-power-admin", 200), (None, 401)])
def test_over_the_network_a_session_that_may_move_vms_is_asked_for(
    box: PoolInABox, role: "str | None", status: int
) -> None:
    box.add_user("somebody", role or "read-only")
    with box.session("somebody") as session:
        reference = session.handle if role else "OpaqueRef:none"
        connection = http.client.HTTPConnection(box.url.rpartition("/")[2])
        body = xmlrpc.client.dumps(({"debug_info": "", "id": "none"},), "VM.export_metadata")
        connection.request("POST", f"/services/xenops?session_id={quote(reference)}", body)
        assert connection.getresponse().status == status
        connection.close()


def test_vms_are_noted_and_forgotten_at_once(box: PoolInABox) -> None:
    """Each in its own queue; their folders share a parent, which goes with the last of them."""
    hypervisor = box.xapi.life.hypervisor(box.xapi, box.master.ref)

    def come_and_go(number: int) -> None:
        for _ in range(200):
            hypervisor.keep(str(number), {}, {ONE: {}})
            hypervisor.keep(str(number), {}, {})
            hypervisor.forget(str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(come_and_go, range(8)))
    assert xenopsd.devices(box.master.machine, "0") is None
