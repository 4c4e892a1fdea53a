"""What a file may say, and how what is wrong with it is told: by line and path."""

import json
import sys
from typing import List

import pytest
from sriovctl.desired import document
from sriovctl.desired.document import Document

WHOLE = """
# The pool of rack 3.
ports:
  "*/eth1": 8
  host1/eth2: {count: 0}
vms:
  web:
    host: host1
    vfs:
      - &uplink {network: xenbr1, vlan: 12, trust: on}
      - {<<: *uplink, vlan: 0x0d}
      - pf: host1/eth1
        mac: 12:34:56:10:20:30
        vlan: default
  123:
    vfs: []
"""


def read(text: str) -> Document:
    found, wrong = document.read("pool.yaml", text)
    assert wrong == []
    return found


def wrong(text: str) -> List[str]:
    return [str(one) for one in document.read("pool.yaml", text)[1]]


def test_whole_file() -> None:
    """Values as they are written: YAML would take this MAC for a number, `on` for true, 123 for no name."""
    found = read(WHOLE.replace("0x0d", "13"))
    assert [(port.name, port.vfs) for port in found.ports] == [("*/eth1", 8), ("host1/eth2", 0)]
    web, numbered = found.vms
    assert (web.name, web.host, numbered.name, numbered.vfs) == ("web", "host1", "123", ())
    assert [(vf.kind, vf.value, vf.settings) for vf in web.vfs] == [
        ("network", "xenbr1", {"vlan": "12", "trust": "on"}),
        ("network", "xenbr1", {"vlan": "13", "trust": "on"}),
        ("pf", "host1/eth1", {"mac": "12:34:56:10:20:30"}),
    ]


def test_profile() -> None:
    (vm,) = read("vms: {fw: {vfs: [{network: wan, profile: router, mac: 02:16:3e:00:00:05}]}}").vms
    assert vm.vfs[0].settings == {"mac": "02:16:3e:00:00:05"}
    assert vm.vfs[0].all_settings["trust"] == "on"


def test_json_needs_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    text = json.dumps({"vms": {"web": {"vfs": [{"network": "xenbr1", "vlan": 12, "trust": True}]}}})
    assert read(text).vms[0].vfs[0].settings == {"vlan": "12", "trust": "on"}
    assert wrong('{"ports": {"h/eth1": 1, "h/eth1": 2}}') == [
        "pool.yaml: ports.h/eth1: this key stands there twice"
    ]
    assert "pip install PyYAML" in wrong("ports: {}")[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "ports:\nvms:\n"])
def test_nothing_is_said(text: str) -> None:
    assert read(text) == Document((), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port: {}", "pool.yaml:1: port: unknown key; the document has ports, vms"),
        ("- ports", "pool.yaml:1: the document: the document must be keys"),
        ("ports:\n  eth1: 4", "pool.yaml:2: ports.eth1: a port is named HOST/eth1"),
        ("ports:\n  h/eth1: many", "pool.yaml:2: ports.h/eth1: `many` is not a number of VFs"),
        ("ports:\n  h/eth1: -1", "pool.yaml:2: ports.h/eth1: `-1` is not"),
        ("ports:\n  h/eth1: {vfs: 4}", "pool.yaml:2: ports.h/eth1.vfs: unknown key; a port has count"),
        ("ports:\n  h/eth1:", "pool.yaml:2: ports.h/eth1: a number of VFs is missing"),
        ("ports:\n  h/eth1: 1\n  h/eth1: 2", "pool.yaml:2: ports.h/eth1: this key stands there twice"),
        ("vms:\n  web: {}", "pool.yaml:2: vms.web: its list `vfs` is missing"),
        ("vms:\n  web:\n    vfs: 2", "pool.yaml:3: vms.web.vfs: this must be a list"),
        ("vms:\n  web:\n    vfs:\n    - vlan: 3", "pool.yaml:4: vms.web.vfs[0]: exactly one of network"),
        ("vms: {web: {vfs: [{network: a, pf: b}]}}", "pool.yaml:1: vms.web.vfs[0]: exactly one of"),
        ("vms: {web: {vfs: [{network: a, vlna: 3}]}}", "vms.web.vfs[0].vlna: unknown key; a VF has network"),
        ("vms: {web: {vfs: [{network: a, vlan: 4095}]}}", "vms.web.vfs[0].vlan: `4095` is not a number from"),
        ("vms: {web: {vfs: [{network: a, vlan: [1]}]}}", "vms.web.vfs[0].vlan: a value is missing"),
        ("vms: {web: {vfs: [{network: a, qos: 3}]}}", "vms.web.vfs[0].qos: it takes a VLAN beside it"),
        ("vms: {web: {vfs: [{network: a, profile: nas}]}}", "vfs[0].profile: `nas` is not one of: router"),
        (
            "vms: {web: {vfs: [{network: a, profile: router, vlan: 3}]}}",
            "vfs[0].vlan: profile router sets it",
        ),
        ("ports: {a: b\nvms: }", "pool.yaml:2: the document: this is no YAML"),
        ('{"ports": {]}', "pool.yaml:1: the document: this is no JSON"),
        ("ports: !!python/object:os.system {}", "pool.yaml:1: the document: the tag"),
        ("ports:\n  h/eth1: \u00b2", "pool.yaml:2: ports.h/eth1: `\u00b2` is not a number of VFs"),
        ('{"ports": {"h/eth1": 1' + 5000 * "0" + "}}", "ports.h/eth1: `1000"),
        ("[" * 5000, "pool.yaml: the document: it is nested too deeply"),
        ('{"vms": {"web": {"vfs": [{"network": "\\ud800"}]}}}', "vfs[0].network: this has a character"),
        ("&a [*a]", "pool.yaml:1: the document: it is nested too deeply"),
    ],
)
def test_what_is_wrong(text: str, said: str) -> None:
    assert any(said in one for one in wrong(text)), wrong(text)


def test_aliases_of_aliases() -> None:
    """Ten lines that would be 10 ** 9 nodes."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    assert "a9: unknown key" in wrong("\n".join(lines))[-1]


def test_all_errors_at_once() -> None:
    assert len(wrong("ports: {eth1: 1, h/eth2: x}\nvms: {web: {vfs: [{vlan: 5000}]}}")) == 3
