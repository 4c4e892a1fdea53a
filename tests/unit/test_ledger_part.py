"""What could be read before is not looked at again, and a start reads the keys that matter to it alone: both
get what the whole ledger says."""

import random
from pathlib import Path
from typing import Dict, List

import pytest
from machine import Machine
from rebuilt import rebuilt
from sriovlib import digest
from sriovlib.pool import checked_keys, ledger, ledger_part
from sriovlib.pool.checked_keys import CheckedKeys
from sriovlib.pool.ledger import Choice, Entry, Lease, Move, Request

HOSTS = [f"{number:08x}-0000-4000-8000-00000000aaaa" for number in range(3)]
ADDRESSES = [f"0000:07:1{slot}.{function}" for slot in range(6) for function in range(8)]
NETWORK = "5e7b6e1a-0000-4000-8000-000000000001"
PER_VM = 12


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def an_entry(chance: random.Random, serial: int) -> Entry:
    numbers = sorted(chance.sample(range(1, 5), chance.choice((0, 1, 1, 1, 2))))
    requests = tuple(Request(one, Choice("network", NETWORK), {"vlan": "12"}) for one in numbers)
    vfs = dict(zip(numbers, chance.sample(ADDRESSES, len(numbers))))
    lease = Lease(chance.choice(HOSTS), vfs, serial, {}, {}) if chance.random() < 0.9 else None
    move = None
    if chance.random() < 0.1:
        move = Move(
            "moving", 7, chance.choice(HOSTS), dict(zip(numbers, chance.sample(ADDRESSES, len(numbers))))
        )
    past = tuple(sorted(chance.sample(ADDRESSES, chance.choice((0, 0, 1, 2)))))
    return Entry(requests, lease, 9, False, "".join(f"0/{vf}" for vf in past), past, move)


def a_text(chance: random.Random, serial: int) -> str:
    text = ledger.render(an_entry(chance, serial))
    kind = chance.random()
    if kind < 0.05:
        return text[: chance.randrange(len(text))]
    if kind < 0.1:
        return text.replace("0000:07", "\\u0030000:07")
    if kind < 0.15:
        return text.replace(chance.choice(("vlan", "12", "host", "past")), chance.choice(("", "x", "13")))
    return text


def a_name(chance: random.Random, number: int, serial: int) -> str:
    odd = (
        f"sriov-vm-{uuid(number)}",
        f"sriov-next-{uuid(number)}",
        f"sriov-vm-{uuid(number)}.x",
        "sriov-vm-odd",
    )
    return chance.choice(odd) if chance.random() < 0.08 else f"sriov-vm-{uuid(number)}.{serial}"


def change(chance: random.Random, other_config: Dict[str, str], serial: int) -> None:
    for name in chance.sample(sorted(other_config), min(len(other_config), chance.randrange(3))):
        del other_config[name]
    for _ in range(chance.randrange(4)):
        other_config[a_name(chance, chance.randrange(PER_VM), serial)] = a_text(chance, serial)


def is_told(
    host: Machine, other_config: Dict[str, str], vm: str, others: List[str], asked: List[str]
) -> bool:
    """Whether all was read that matters; and whether less was than there is."""
    whole, part = ledger.read(other_config), ledger_part.read(host, other_config, vm, others, asked)
    assert (part.keys, part.unreadable) == (whole.keys, whole.unreadable)
    for one, entry in part.entries.items():
        assert entry == whole.entries[one]
    left_out = set(whole.entries).difference(part.entries)
    assert not left_out.intersection([vm, *others])
    assert not any(set(whole.entries[one].ever_leased).intersection(asked) for one in left_out)
    if left_out:
        assert set(asked) <= set(whole.entries[vm].ever_leased)
        assert whole.entries[vm].requests
    return bool(left_out)


@pytest.mark.parametrize("seed", range(40))
def test_what_matters_is_as_the_whole_ledger_says(tmp_path: Path, seed: int) -> None:
    host, chance = Machine(str(tmp_path)), random.Random(seed)
    host.make_folder("/run/sriov")
    other_config: Dict[str, str] = {"cpuid": "x"}
    left_out = 0
    for serial in range(1, 60):
        change(chance, other_config, serial)
        vm = uuid(chance.randrange(PER_VM))
        entry = ledger.read(other_config).entries.get(vm, ledger.NO_ENTRY)
        asked = entry.ever_leased if chance.random() < 0.8 else chance.sample(ADDRESSES, 2)
        others = [uuid(number) for number in chance.sample(range(PER_VM), 2)]
        if chance.random() < 0.3:  # a call that needs all of it
            assert checked_keys.read(host, other_config) == ledger.read(other_config)
        left_out += is_told(host, other_config, vm, others, asked)
        if chance.random() < 0.05:  # whatever is in the file
            text = host.read(checked_keys.PATH) if host.exists(checked_keys.PATH) else ""
            host.replace_file(checked_keys.PATH, text[: chance.randrange(len(text) + 1)].encode())
    assert left_out


def test_of_another_build_nothing_is_taken_for_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Machine(str(tmp_path))
    host.make_folder("/run/sriov")
    entry = Entry(
        (Request(1, Choice("network", NETWORK), {}),),
        Lease(HOSTS[0], {1: ADDRESSES[0]}, 1, {}, {}),
        2,
        False,
        "",
    )
    other = entry._replace(lease=Lease(HOSTS[0], {1: ADDRESSES[1]}, 2, {}, {}))
    texts = {f"sriov-vm-{uuid(1)}.1": ledger.render(entry), f"sriov-vm-{uuid(2)}.1": ledger.render(other)}

    def read() -> List[str]:
        return list(ledger_part.read(host, texts, uuid(1), [], [ADDRESSES[0]]).entries)

    assert read() == [uuid(1), uuid(2)]
    assert read() == [uuid(1)]
    monkeypatch.setattr(digest, "VERSION", "another")
    assert read() == [uuid(1), uuid(2)]
    assert read() == [uuid(1)]


@pytest.mark.parametrize("module", ["pool/ledger_shape", "config/vf_settings", "machine/pci", "safetext"])
def test_a_build_is_known_by_all_that_says_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    host = Machine(str(tmp_path))
    host.make_folder("/run/sriov")
    keys = [ledger.Key(f"sriov-vm-{uuid(1)}.1", 1, "a text")]
    checked = CheckedKeys(host)
    checked._met.add(checked_keys._digest(keys[0]))
    checked.keep()
    assert CheckedKeys(host).has(keys)
    rebuilt(monkeypatch, f"{module}.py")
    assert not CheckedKeys(host).has(keys)


def test_a_name_with_a_part_of_what_could_be_read_is_not_taken_for_it(tmp_path: Path) -> None:
    """As a name and a text that are written by hand with the blank in another place."""
    host = Machine(str(tmp_path))
    host.make_folder("/run/sriov")
    name, text = f"sriov-vm-{uuid(1)}.1", ledger.render(an_entry(random.Random(1), 1)).replace(",", ", ")
    assert checked_keys.read(host, {name: text}) == ledger.read({name: text})
    begun, _, rest = text.partition(" ")
    other = {f"{name} {begun}": rest}
    assert checked_keys.read(host, other) == ledger.read(other)
