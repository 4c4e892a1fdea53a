"""Messages of a pool in a box, as xapi's are."""

from box import PoolInABox
from checks import refused

BEGINNING = "19700101T00:00:00Z"


def test_messages_are_about_objects_that_are_there(box: PoolInABox) -> None:
    call, host = box.xapi.call, box.hosts[0].uuid
    for about, uuid, failure in (
        ("PIF", host, "INTERNAL_ERROR"),
        ("VM", host, "UUID_INVALID"),
        ("VMPP", host, "UUID_INVALID"),
    ):
        assert refused(call, "message.create", "ODD", 3, about, uuid, "x")[0] == failure
        assert refused(call, "message.get", about, uuid, BEGINNING)[0] == failure
    refs = {call("message.create", "ODD", 3, about, host, "x") for about in ("host", "Host")}
    found = call("message.get", "HOST", host, BEGINNING)
    assert set(found) == refs
    assert {record["cls"] for record in found.values()} == {"Host"}
    assert call("message.get", "host", host, "20990101T00:00:00Z") == {}


def test_messages_outlive_their_vm_and_not_their_master(box: PoolInABox) -> None:
    call, vm = box.xapi.call, box.add_vm("web1")
    uuid = call("VM.get_uuid", vm)
    ref = call("message.create", "ODD", 3, "VM", uuid, "x")
    call("VM.destroy", vm)
    assert refused(call, "message.get", "VM", uuid, BEGINNING) == ["UUID_INVALID"]
    own = call("message.get_record", ref)["uuid"]
    assert call("message.get_by_uuid", own) == ref
    call("message.destroy", ref)
    assert refused(call, "message.destroy", ref) == ["HANDLE_INVALID", "message", ref]
    assert refused(call, "message.get_by_uuid", own) == ["UUID_INVALID", "message", own]
    call("message.create", "ODD", 3, "Pool", call("pool.get_all_records")[box.xapi.pool]["uuid"], "x")
    box.make_master(box.hosts[1])
    assert call("message.get_all") == []


def test_messages_take_a_pool_operator(box: PoolInABox) -> None:
    box.add_user("viktor", "vm-power-admin")
    host = box.hosts[0].uuid
    with box.session("viktor") as viktor:
        api = viktor.xenapi.message
        assert refused(api.create, "ODD", "3", "Host", host, "x")[0] == "RBAC_PERMISSION_DENIED"
        assert api.get("Host", host, BEGINNING) == {}
