"""What is looked up in the imitated xapi's database is what was last written there."""

import random

import pytest
from database import Database
from values import NULL, Failure


def vm_with_vifs(database: Database, count: int) -> str:
    vm = database.create("VM", {"name_label": "web"})
    for _ in range(count):
        database.create("VIF", {"VM": vm})
    return vm


def test_what_refers_to_an_object_is_right_after_every_write() -> None:
    database = Database()
    one, other = vm_with_vifs(database, 3), vm_with_vifs(database, 0)
    first, second, third = database.get("VM", one, "VIFs")
    database.set("VIF", second, "VM", other)
    assert (database.get("VM", one, "VIFs"), database.get("VM", other, "VIFs")) == ([first, third], [second])
    database.set("VIF", second, "VM", one)
    assert database.record("VM", one)["VIFs"] == [first, second, third], "in the order of their making"
    database.destroy("VIF", first)
    assert database.record("VM", one)["VIFs"] == [second, third]
    fourth = database.create("VIF", {"VM": one})
    assert database.get("VM", one, "VIFs") == [second, third, fourth]
    assert database.get("VM", other, "VIFs") == []


def test_what_was_read_is_the_readers_own() -> None:
    database = Database()
    vm = vm_with_vifs(database, 1)
    read, record = database.get("VM", vm, "VIFs"), database.record("VM", vm)
    names = database.by_name_label("VM", "web")
    for one in (read, record["VIFs"], names):
        one.clear()
    assert len(database.get("VM", vm, "VIFs")) == len(database.record("VM", vm)["VIFs"]) == 1
    assert database.by_name_label("VM", "web") == [vm]


def test_look_ups_are_right_after_every_write() -> None:
    database = Database()
    vm = database.create("VM", {"uuid": "1", "name_label": "web"})
    assert (database.by_uuid("VM", "1"), database.by_name_label("VM", "web")) == (vm, [vm])
    other = database.create("VM", {"uuid": "2", "name_label": "web"})
    assert (database.by_uuid("VM", "2"), database.by_name_label("VM", "web")) == (other, [vm, other])
    database.set("VM", vm, "name_label", "mail")
    database.set("VM", vm, "uuid", "3")
    assert (database.by_uuid("VM", "3"), database.by_name_label("VM", "web")) == (vm, [other])
    database.destroy("VM", other)
    assert database.by_name_label("VM", "web") == []
    for gone in ("1", "2"):
        with pytest.raises(Failure, match="UUID_INVALID"):
            database.by_uuid("VM", gone)


def test_a_database_that_went_back_finds_what_was_on_disk() -> None:
    database = Database()
    vm = vm_with_vifs(database, 1)
    disk, vifs = database.flushed(), database.get("VM", vm, "VIFs")
    database.destroy("VIF", vifs[0])
    lost = database.create("VM", {"uuid": "lost", "name_label": "web"})
    assert (database.get("VM", vm, "VIFs"), database.by_uuid("VM", "lost")) == ([], lost)
    database.go_back_to(disk)
    assert (database.get("VM", vm, "VIFs"), database.by_name_label("VM", "web")) == (vifs, [vm])
    with pytest.raises(Failure, match="UUID_INVALID"):
        database.by_uuid("VM", "lost")


def test_references_of_both_ends_agree_whatever_was_written() -> None:
    database = Database()
    chance = random.Random(14)
    vms = [vm_with_vifs(database, 1) for _ in range(4)]
    for _ in range(300):
        vifs = database.refs("VIF")
        act = chance.choice(("create", "destroy", "set", "set", "read"))
        if act == "create" or not vifs:
            database.create("VIF", {"VM": chance.choice(vms)})
        elif act == "destroy":
            database.destroy("VIF", chance.choice(vifs))
        elif act == "set":
            database.set("VIF", chance.choice(vifs), "VM", chance.choice([*vms, NULL]))
        records = database.records("VM", vms)
        for vm in vms:
            assert records[vm]["VIFs"] == database.get("VM", vm, "VIFs") == database.find("VIF", VM=vm)
