"""host.reboot, and HA turned off and on."""

from datetime import datetime, timezone

from box import PoolInABox
from checks import refused, until


def boot_time(box: PoolInABox, host: str) -> float:
    return float(box.xapi.database.get("host", host, "other_config").get("boot_time", "0."))


def test_a_host_reboots(box: PoolInABox) -> None:
    host = box.hosts[1]
    assert refused(box.xapi.call, "host.reboot", host.ref) == ["HOST_NOT_DISABLED"]
    vm = box.add_vm("web")
    box.start(vm, host)
    with box.session() as session:
        xapi = session.xenapi
        xapi.host.disable(host.ref)
        before = datetime.strptime(str(xapi.host.get_servertime(host.ref)), "%Y%m%dT%H:%M:%SZ")
        xapi.host.reboot(host.ref)
        until(lambda: boot_time(box, host.ref) > before.replace(tzinfo=timezone.utc).timestamp())
        until(lambda: bool(xapi.host.get_enabled(host.ref)))
        assert xapi.host.get_current_operations(host.ref) == {}
        assert box.power_state(vm) == "Halted"  # by the host itself, on its way down
    until(lambda: box.xapi.reach.answers(host.ref))
    assert box.call(host, "inventory")["host_uuid"] == host.uuid


def test_a_master_reboots_and_listens_where_it_did(box: PoolInABox) -> None:
    master, url = box.master, box.url
    with box.session() as session:
        session.xenapi.host.disable(master.ref)
        old = session._session
        session.xenapi.host.reboot(master.ref)
        until(lambda: boot_time(box, master.ref) > 0)
    until(lambda: not box.xapi.database.exists("session", old))
    until(lambda: box.url == url)
    with box.session() as session:
        assert session.xenapi.host.get_enabled(master.ref)


def test_a_host_that_does_not_come_up(box: PoolInABox) -> None:
    host = box.hosts[1]
    box.broken.add(host.ref)
    box.xapi.call("host.disable", host.ref)
    box.xapi.call("host.reboot", host.ref)
    until(lambda: not box.xapi.reach.answers(host.ref))
    why = refused(box.xapi.call, "host.reboot", host.ref)
    assert why[:4] == ["OTHER_OPERATION_IN_PROGRESS", "host", host.ref, "shutdown"]
    box.broken.clear()
    box.xapi.power_on(host.ref)
    assert box.xapi.database.get("host", host.ref, "enabled")


def test_ha_off_and_on(box: PoolInABox) -> None:
    database, pool = box.xapi.database, box.xapi.pool
    sr = database.create("SR", {"name_label": "shared", "shared": True})
    assert refused(box.xapi.call, "pool.disable_ha") == ["HA_NOT_ENABLED"]
    box.xapi.call("pool.enable_ha", [sr], {"timeout": "60"})
    assert refused(box.xapi.call, "pool.enable_ha", [sr], {}) == ["HA_IS_ENABLED"]
    (vdi,) = database.get("pool", pool, "ha_statefiles")
    assert box.xapi.call("VDI.get_SR", vdi) == sr

    vm = box.add_vm("web")
    box.start(vm, box.hosts[1])
    asked = "host.get_vms_which_prevent_evacuation"
    assert box.xapi.call(asked, box.hosts[1].ref) == {vm: ["HOST_EVACUATE_VM_NOT_HA_PROTECTED", vm]}
    box.protect(vm)
    assert box.xapi.call(asked, box.hosts[1].ref) == {}

    box.xapi.call("pool.disable_ha")
    box.lose(box.hosts[1])
    assert refused(box.xapi.call, "pool.enable_ha", [sr], {}) == ["HOST_OFFLINE", box.hosts[1].ref]
