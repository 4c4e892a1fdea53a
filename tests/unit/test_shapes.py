"""What is read without a pattern, held to the pattern; and that ordinary calls need none."""

import json
import marshal
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Callable, List, Set

import machine
import pytest
from machine_description import default_description
from sriovlib import light_modules, safetext
from sriovlib.config import ini, sriov_conf, vf_settings
from sriovlib.machine import block_devices, kernel_log, pci, ports, remote_disks
from sriovlib.machine.host import Host
from sriovlib.machine.management_network import Address
from sriovlib.pool import ledger, ledger_shape, pci_entries
from sriovlib.vf import host_inventory

REPOSITORY = Path(__file__).resolve().parents[2]

UUID = "3f2b7a1e-58c4-4d0e-9a75-0d1c2b3a4f5e"
SYSFS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]"


def link_local(text: str) -> bool:
    return Address("eth0", text).is_link_local


def stands_for_others(name: str) -> bool:
    return ports._stands_for_others(name)


SHAPES: List[Any] = [
    (pci.is_address, SYSFS, "0000:07:1f.7", "00010000:ab:00.0", "0000:07:20.0", "0000:07:10.8"),
    (safetext.is_number, "[0-9]+", "12", "0", "", "\u0663"),
    (safetext.is_uuid, safetext.UUID, UUID, "3F2b7a1e-58c4-4d0e-9a75-0d1c2b3a4f5e"),
    (block_devices._is_domain, "(?s)pci[0-9a-f]{4,8}:.*", "pci10000:00", "pci0000:", "pci000:0", "pc0000:00"),
    (vf_settings.is_mac, "[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}", "02:00:AB:00:00:07", "02-00:00:00:00:00"),
    (ledger_shape._is_device, "[0-9a-f]{4}:[0-9a-f]{4}", "8086:10ed", "8086:10eg"),
    (ledger_shape._is_number, "0|[1-9][0-9]{0,15}", "0", "10", "01", "1" * 16, "1" * 17),
    (
        ledger_shape._is_address,
        "[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f][.][0-7]",
        "0000:07:10.0",
        "10000:07:10.0",
    ),
    (remote_disks._is_of_card, r"iscsi_boot[0-9]+", "iscsi_boot12", "iscsi_boot", "ibft"),
    (link_local, "(?is)fe[89ab].*", "fe80::1", "FEBf::", "fec0::1", "::1"),
    (
        stands_for_others,
        ports._REPRESENTOR.pattern,
        "3",
        "pf0vf3",
        "p0pf1vf3",
        "c1pf0",
        "pf0s2",
        "p0",
        "p0s1",
        "vfr3",
        "",
    ),
]


def changed(random: Random, text: str) -> str:
    """One or two places of it otherwise."""
    for _ in range(random.choice([1, 1, 2])):
        at = random.randrange(len(text) + 1)
        what = random.choice("0789afgAF:.-xpvs\n\u0663 ")
        text = random.choice(
            [text[:at] + what + text[at:], text[:at] + what + text[at + 1 :], text[:at] + text[at + 1 :]]
        )
    return text


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape[0].__name__)
def test_a_shape_is_what_the_pattern_says(shape: Any) -> None:
    is_one, pattern, *texts = shape
    random = Random(14)
    found: Set[bool] = set()
    for text in texts:
        for one in [text, *(changed(random, text) for _ in range(3000))]:
            assert is_one(one) == bool(re.fullmatch(pattern, one)), one
            found.add(is_one(one))
    assert found == {True, False}


def test_names_of_the_ledgers_keys() -> None:
    random = Random(14)
    key, serial = f"(?s)sriov-(vm|next)-({safetext.UUID})(.*)", "[.]([1-9][0-9]{0,15})"
    found = set()
    beginnings = [ledger.PREFIX + UUID, "sriov-next-" + UUID]
    rests = ["", ".7", ".0", ".07", "." + "9" * 17, "x"]
    texts = [beginning + rest for beginning in beginnings for rest in rests]
    for name in [*texts, *(changed(random, text) for text in texts for _ in range(500))]:
        match = re.fullmatch(key, name)
        expected: Any = None
        if match:
            form, uuid, rest = match.groups()
            number = re.fullmatch(serial, rest) if form == "vm" else None
            bare = ledger._NO_SERIAL if form == "vm" else ledger._WAITING
            expected = (uuid, int(number.group(1)) if number else ledger._ODD if rest else bare)
        elif name.startswith(ledger.PREFIX):
            expected = (name[len(ledger.PREFIX) :], ledger._ODD)
        told = [(uuid, one.serial) for uuid, (one,) in ledger.keys({name: "text"}).items()]
        assert told == ([expected] if expected else []), name
        found.add(expected and expected[1])
    assert {None, 7, ledger._ODD, ledger._NO_SERIAL, ledger._WAITING} <= found


def test_an_entry_as_nearly_all_are_is_read_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(14)
    texts = [changed(random, one) for one in ("0/0000:07:10.0", "12/0000:ab:1f.7") for _ in range(3000)]
    texts += ["0/0000:07:10.0", "000/0000:07:10.0", "1234567890/0000:07:10.0"]
    told = [pci_entries.entries(text) for text in texts]
    monkeypatch.setattr(pci_entries, "is_number", lambda _text: False)
    assert told == [pci_entries.entries(text) for text in texts]


@pytest.mark.parametrize(
    "text", ["7", "-7", " 7\n", "", "-", "--7", "7 7", "0x7", "9" * 19, "9" * 20, "\u0663", "+7"]
)
def test_a_number_is_read_as_the_kernel_writes_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "number").write_text(text, encoding="utf-8")
    match = re.fullmatch(r"-?[0-9]{1,19}", text.strip())
    assert Host(str(tmp_path)).number("/number") == (int(match.group()) if match else None)


WORDS = (
    "BAR 7",
    "BAR 12",
    "VF BAR 0",
    "BAR 0",
    "no space for",
    "failed to assign",
    "can't assign",
    ": ",
    "SR-IOV",
    "SR-IOV: bus number out of range",
    "can't enable 4 VFs (bus",
    "not enough MMIO resources for SR-IOV",
    "driver doesn't support SRIOV configuration via sysfs",
    "0000:07:00.0",
    " ",
)


def test_a_line_without_the_words_of_a_complaint_is_none() -> None:
    random = Random(14)
    kinds = set()
    for _ in range(20000):
        line = " ".join(random.choice(WORDS) for _ in range(random.randrange(6)))
        by_pattern = next(
            (at for at, (_, one) in enumerate(kernel_log._EVIDENCE) if re.search(one, line)), None
        )
        assert kernel_log._kind(line) == by_pattern
        kinds.add(by_pattern)
    assert len(kinds) == 1 + len(kernel_log._EVIDENCE)


# -- what ordinary calls load ------------------------------------------------------------------------

SLOW = {"enum", "re._parser", "sre_parse", "json.decoder", "functools", "collections", "ctypes", "subprocess"}
PROGRAM = """
import marshal, os, sys
sys.path.insert(0, {plugins!r})
import sriovlib
sriovlib.hold("")
from sriovlib.calls import dispatch, table
from sriovlib.machine.host import Host
with open({answers!r}, "rb") as file:
    answers = marshal.load(file)
class Recorded(Host):
    def netlink(self, request):
        return answers.pop(0)
    def xenstore(self, questions):
        return answers.pop(0) if questions else []
    def kernel_log(self):
        return answers.pop(0)
print(table.call(Recorded({root!r}), "inventory", None, {{}}))
print(" ".join(sys.modules), file=sys.stderr)
"""


@pytest.mark.skipif(sys.version_info[:2] > light_modules.NEWEST, reason="light modules are not used there")
def test_an_inventory_loads_nothing_that_is_slow_to_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = machine.create(str(tmp_path / "host"), default_description(1))
    for port in ("0000:07:00.0", "0000:07:00.1"):
        host.write_attribute(f"/sys/bus/pci/devices/{port}/sriov_numvfs", "4")
    host.start_domain(UUID, "web", ["0000:07:10.0"])
    mac = host.read("/sys/class/net/eth1/address").strip()
    host.replace_file(sriov_conf.PATH, f"[pf 0000:07:00.0]  # fast\nmac = {mac}\nvfs = 4\n".encode())
    host_inventory.read(host)  # Xen's NUMA nodes are noted
    answers: List[object] = []
    for name in ("netlink", "xenstore", "kernel_log"):
        monkeypatch.setattr(host, name, partial(recorded, answers, getattr(host, name)))
    expected = host_inventory.read(host).to_json()
    (tmp_path / "answers").write_bytes(marshal.dumps(answers))
    program = PROGRAM.format(
        plugins=str(REPOSITORY / "plugins"), answers=str(tmp_path / "answers"), root=host.root
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True
    )
    answer = json.loads(done.stdout.decode())
    assert len(answer.pop("digest")) == 32
    assert answer == json.loads(json.dumps(expected))
    assert SLOW.intersection(done.stderr.decode().split()) == set()


def recorded(answers: List[object], ask: Callable[..., object], *question: object) -> object:
    answer = ask(*question)
    if question != ([],):
        answers.append(answer)
    return answer


HEADING = r"\s*\[([^\]]*)\]\s*(?:[#;].*)?"
FUNCTIONS = r"pf\s+(\S+)|vf\s+(\S+)\s+(0|[1-9][0-9]{0,5})"


def test_lines_of_the_file_are_read_as_by_patterns() -> None:
    """Headings, where a value ends, and which function a section is of."""
    random = Random(7)
    for _ in range(20_000):
        line = "".join(random.choices("[]#; \t\u2003=ab0", k=random.randrange(9)))
        heading = re.fullmatch(HEADING, line)
        assert ini._heading(line) == (heading and heading.group(1)), repr(line)
        comment = re.search(r"\s[#;]", line)
        assert ini._end_of_value(line) == (comment.start() if comment else len(line)), repr(line)
        words = random.choices(["pf", "vf", "0", "7", "07", "999999", "1000000", "3b:00.0", "\u0663"], k=3)
        section = random.choice([" ", "\t ", ""]).join(words[: random.randrange(4)])
        found = re.fullmatch(FUNCTIONS, section)
        wanted = found and (found.group(1) or found.group(2), found.group(3) and int(found.group(3)))
        assert sriov_conf._functions(section) == wanted, section
