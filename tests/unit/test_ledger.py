"""The ledger: what is kept of a VM's VFs is read back exactly, and nothing doubtful is taken for it."""

import json
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sriovlib import safetext
from sriovlib.config import vf_settings
from sriovlib.pool import ledger
from sriovlib.pool.ledger import Choice, Entry, Lease, LedgerError, Request

VM = "d58d9323-dddc-4624-a482-9f6ceb10670c"
NETWORK = "47815c66-7f5e-4fbc-9c81-4e6d6b13a6dc"
HOST, OTHER_HOST = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"

WEB = Entry(
    requests=(
        Request(1, Choice("network", NETWORK), {"mac": "b2:1b:21:00:00:05", "vlan": "12"}),
        Request(3, Choice("pf", "0000:07:00.0", "8086:10fb"), {}),
    ),
    lease=Lease(
        HOST, {1: "0000:07:10.0", 3: "0000:07:10.2"}, 17, {OTHER_HOST: 1_700_000_000}, {3: [NETWORK]}
    ),
    next_number=4,
    nomigrate=False,
    pci="0/0000:07:10.0,1/0000:07:10.2",
    past=("0000:07:10.0", "0000:07:10.2", "0000:07:11.0"),
)


def changed(**members: Any) -> str:
    """The text of that entry with some members of the whole changed, or taken out (None)."""
    document = json.loads(ledger.render(WEB))
    document.update(members)
    return json.dumps({name: value for name, value in document.items() if value is not None})


def with_request(**members: Any) -> str:
    request: Dict[str, Any] = {"number": 1, "by": "network", "value": NETWORK, "settings": {}}
    request.update(members)
    wanted = {name: value for name, value in request.items() if value is not None}
    return changed(requests=[wanted], lease=None)


def with_lease(**members: Any) -> str:
    lease: Dict[str, Any] = {"host": HOST, "vfs": {"1": "0000:07:10.0"}, "serial": 1}
    lease.update(members)
    return changed(lease=lease)


def test_a_person_can_read_it() -> None:
    assert ledger.render(WEB) == (
        '{"version":1,"requests":['
        f'{{"number":1,"by":"network","value":"{NETWORK}",'
        '"settings":{"mac":"b2:1b:21:00:00:05","vlan":"12"}},'
        '{"number":3,"by":"pf","value":"0000:07:00.0","device":"8086:10fb","settings":{}}],"next":4,'
        f'"lease":{{"host":"{HOST}","vfs":{{"1":"0000:07:10.0","3":"0000:07:10.2"}},"serial":17,'
        f'"replaced":{{"{OTHER_HOST}":1700000000}},"networks":{{"3":["{NETWORK}"]}}}},'
        '"pci":"0/0000:07:10.0,1/0000:07:10.2",'
        '"past":["0000:07:10.0","0000:07:10.2","0000:07:11.0"]}'
    )
    assert ledger.parse(ledger.render(WEB)) == WEB


numbers = st.integers(0, 50)
addresses = st.builds("{:04x}:{:02x}:{:02x}.{}".format, *map(st.integers, [0] * 4, [0xFFFF, 0xFF, 0x1F, 7]))
devices = st.builds("{:04x}:{:04x}".format, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
uuids = st.uuids().map(str)
choices = st.one_of(
    st.builds(Choice, st.just("network"), uuids, st.none()),
    st.builds(Choice, st.sampled_from(["pf", "vf"]), addresses, devices),
    st.builds(Choice, st.just("device"), devices, st.none()),
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "mac": st.just("02:1b:21:00:00:05"),
        "vlan": st.integers(0, 4094).map(str),
        "qos": st.sampled_from(["0", "7", "default"]),
        "trust": st.sampled_from(["on", "no", "TRUE"]),
        "link_state": st.sampled_from(["auto", "enable"]),
    },
)


@st.composite
def entries(draw: Any) -> Entry:
    used = sorted(draw(st.sets(numbers, max_size=4)))
    requests = tuple(Request(number, draw(choices), draw(settings)) for number in used)
    lease: Optional[Lease] = None
    if draw(st.booleans()):
        leased = [number for number in used if draw(st.booleans())]
        vfs = draw(st.lists(addresses, unique=True, min_size=len(leased), max_size=len(leased)))
        replaced = draw(st.dictionaries(uuids, st.integers(0, 2**40), max_size=2))
        networks = {number: draw(st.lists(uuids, max_size=2)) for number in leased if draw(st.booleans())}
        serial = draw(st.integers(0, 2**53))
        lease = Lease(draw(uuids), dict(zip(leased, vfs)), serial, replaced, networks)
    next_number = draw(st.integers(51, 99))
    past = tuple(draw(st.lists(addresses, max_size=3)))
    return Entry(requests, lease, next_number, draw(st.booleans()), draw(st.text()), past)


@given(entries())
def test_text_and_values_are_exact_inverses(entry: Entry) -> None:
    text = ledger.render(entry)
    assert ledger.parse(text) == entry
    assert ledger.render(ledger.parse(text)) == text
    assert text.encode("ascii")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(entries(), st.data())
def test_a_spoilt_text_is_an_error_or_another_entry_never_a_crash(entry: Entry, data: Any) -> None:
    """Puts junk in the place of any one value of the text."""
    document = json.loads(ledger.render(entry))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    try:
        read = ledger.parse(json.dumps(document))
    except LedgerError:
        return
    assert ledger.parse(ledger.render(read)) == read


WRONG = {
    "is no JSON (": "[" * 60_000,
    "it is no JSON object": "[]",
    "only version 1 is supported": changed(version=2),
    "its version is null": changed(version=None),
    "appears twice": changed()[:-1] + ',"next":9}',
    "`next` appears twice": changed()[:-1] + "".join(f',"n{n}":0' for n in range(4000)) + ',"next":9}',
    "65537 characters, more than 65536": changed().ljust(safetext.LONGEST + 1),
    "it has a `owner`, which is not known": changed(owner="me"),
    "nomigrate is no true or false": changed(nomigrate=1),
    "pci is no text": changed(pci=[]),
    "the next request is 3, and there is a request 3": changed(next=3),
    "request 1 stands after request 1": changed(requests=json.loads(changed())["requests"][:1] * 2),
    "requests[0] has no by": with_request(by=None),
    "requests[0].number is no whole number": with_request(number=True),
    "from 0 on": with_request(number=-1),
    "by `port`, which is not one of network, pf, vf, device": with_request(by="port"),
    "which is not the UUID of a network": with_request(value=NETWORK.upper()),
    "which is not the address of a PF": with_request(by="pf", value="10000:07:00.0", device="8086:10fb"),
    "is by pf and names no device": with_request(by="pf", value="0000:07:00.0"),
    "is by network and names a device": with_request(device="8086:10ed"),
    "requests[0].device is `igb`": with_request(by="vf", value="0000:07:10.0", device="igb"),
    "requests[0].settings has a `mtu`": with_request(settings={"mtu": "1500"}),
    "settings.vlan is no text": with_request(settings={"vlan": 12}),
    "settings.vlan is `4095`, it takes a number": with_request(settings={"vlan": "4095"}),
    "it takes lower case": with_request(settings={"mac": "02:1B:21:00:00:05"}),
    "it takes a unicast MAC": with_request(settings={"mac": "01:1b:21:00:00:05"}),
    "lease.host is `here`": with_lease(host="here"),
    "lease.vfs has request 2, which is not there": with_lease(vfs={"2": "0000:07:10.0"}),
    "a key of lease.vfs is `01`": with_lease(vfs={"01": "0000:07:10.0"}),
    "lease.vfs.1 is `0000:07:10.8`": with_lease(vfs={"1": "0000:07:10.8"}),
    "lease.vfs has an address for two requests": with_lease(vfs={"1": "0000:07:10.0", "3": "0000:07:10.0"}),
    "lease.serial is no whole number from 0 on": with_lease(serial=ledger.LARGEST + 1),
    "lease.replaced is no JSON object": with_lease(replaced=[HOST, 1]),
    "a key of lease.replaced is `here`": with_lease(replaced={"here": 1}),
    "lease.networks has request 3, which is not there": with_lease(networks={"3": [NETWORK]}),
    "lease.networks.1[0] is `lan`": with_lease(networks={"1": ["lan"]}),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_ledger_error_names_the_fault(sentence: str) -> None:
    with pytest.raises(LedgerError) as raised:
        ledger.parse(WRONG[sentence])
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    "entry",
    [
        WEB._replace(next_number=3),
        WEB._replace(pci=None),  # type: ignore[arg-type] # wrong on purpose
        WEB._replace(lease=Lease(HOST, {}, 1, {HOST: None}, {})),  # type: ignore[dict-item] # wrong on purpose
        WEB._replace(lease=Lease(HOST, {2: "0000:07:10.0"}, 1, {}, {})),
    ],
)
def test_nothing_is_written_that_could_not_be_read(entry: Entry) -> None:
    with pytest.raises(LedgerError):
        ledger.render(entry)


def test_one_bad_key_costs_no_other_vm_its_entry() -> None:
    bad, odd = "d58d9323-dddc-4624-a482-000000000000", "d58d9323-dddc-4624-a482-000000000001"
    text = ledger.render(WEB)
    found = ledger.read(
        {
            f"sriov-vm-{VM}.7": text,
            f"sriov-vm-{bad}.1": "{}",
            f"sriov-vm-{odd}.3": text,
            f"sriov-vm-{odd}.04": text,
            "sriov-vm-web": text,
            "sriov-vmware": "not ours",
            "auto_poweron": "true",
        }
    )
    assert found.entries == {VM: WEB}
    assert set(found.unreadable) == {bad, odd, "web"}
    assert "version" in found.unreadable[bad]
    assert "name is not sriov-vm-UUID.SERIAL" in found.unreadable[odd] == found.unreadable["web"]


def test_the_mac_of_a_request_never_changes() -> None:
    assert vf_settings.derived_mac(VM, 1) == "e2:b2:f6:83:75:8f"
    assert vf_settings.derived_mac(VM.upper(), 1) == vf_settings.derived_mac(VM, 1)
    assert vf_settings.derived_mac(VM, 1, attempt=1) == "c2:bf:d5:df:7f:15"


@given(uuids, numbers, st.integers(0, 9))
def test_a_derived_mac_is_local_unicast_and_no_well_known_one(vm: str, number: int, attempt: int) -> None:
    mac = vf_settings.derived_mac(vm, number, attempt)
    octets = [int(octet, 16) for octet in mac.split(":")]
    assert len(octets) == 6
    assert mac == ":".join(f"{octet:02x}" for octet in octets)
    assert octets[0] in range(0x82, 0x100, 0x10)


def test_the_longest_text_and_the_largest_number() -> None:
    assert ledger.parse(ledger.render(WEB).ljust(safetext.LONGEST)) == WEB
    lease = ledger.parse(with_lease(serial=ledger.LARGEST)).lease
    assert lease is not None
    assert lease.serial == ledger.LARGEST


ONE, TWO, TEN = (f"sriov-vm-{VM}.{serial}" for serial in (1, 2, 10))
PLAIN, WAITING = f"sriov-vm-{VM}", f"sriov-next-{VM}"  # as 0.1.0's first builds wrote them


@pytest.mark.parametrize(
    ("names", "counts", "cut_off", "following"),
    [
        ([f"{PLAIN}.{10**16 - 1}"], f"{PLAIN}.{10**16 - 1}", False, None),
        ([ONE], ONE, False, TWO),
        ([TEN, TWO], TEN, True, f"sriov-vm-{VM}.11"),
        ([PLAIN], PLAIN, False, ONE),
        ([WAITING], WAITING, True, ONE),
        ([WAITING, PLAIN], PLAIN, True, ONE),
        ([ONE, PLAIN, WAITING], ONE, True, TWO),
    ],
)
def test_the_key_with_the_highest_serial_counts(
    names: List[str], counts: str, cut_off: bool, following: Optional[str]
) -> None:
    keys = ledger.keys({name: f"text of {name}" for name in names})[VM]
    assert (keys[-1].name, keys[-1].text) == (counts, f"text of {counts}")
    assert ledger.was_cut_off(keys) is cut_off
    assert ledger.next_name(VM, keys) == following
    assert (ledger.was_cut_off([]), ledger.next_name(VM, [])) == (False, ONE)
