"""VMs, hosts and networks of any name: each is shown on one line, with nothing that a terminal obeys, and can
be typed as it is, as it is shown, and by its UUID."""

import re
from typing import Any, Callable, List, Sequence

import pytest
from managed_pool import Pool

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]
# what xapi lets a name have: all that XML 1.0 has (xen-api: Encodings.UTF8_XML)
NAMES = [
    "two\nlines, a\ttab",
    "next\x85line \x9b2J\u202eturned\u2066 \u2028separated",
    "\ufffd Z\u00fcrich-\u4eee\u60f3 \U0001f600",
    "x" * 300,
    "-o json",
]
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]")
# each that says something of a VM, a host or a network
LOOKS: List[Sequence[str]] = [
    *(["status"], ["pfs"], ["vfs"], ["vms"], ["conflicts"], ["map"], ["metrics"], ["doctor"]),
    *([*one, "-o", form] for one in (["vms"], ["vfs"]) for form in ("wide", "name", "yaml")),
]


def renamed(pool: Pool, name: str) -> str:
    """A VM with a VF, its host and its network have the name; the VM."""
    web = pool.with_vf("web", on=pool.one)
    network = pool.api("network.get_by_uuid", pool.network("eth1"))
    for method, ref in (("VM", pool.ref(web)), ("host", pool.one.ref), ("network", network)):
        pool.api(f"{method}.set_name_label", ref, name)
    return web


@pytest.mark.parametrize("name", NAMES)
def test_name_is_shown_and_can_be_typed(pool: Pool, ctl: Ctl, name: str) -> None:
    web = renamed(pool, name)
    pool.clone(web, name)  # a conflict, whose sentence names both
    copy = next(one["vm_uuid"] for one in ctl("vms", "-o", "json").json if one["vm_uuid"] != web)
    for look in LOOKS:
        said = ctl(*look)
        assert said.status in (0, 1), look
        assert not HARMFUL.search(said.out + said.err), look
    pool.destroy(copy)
    (shown,) = {row[0] for row in ctl("vms", "--no-headers").rows}
    for typed in {name, shown, web} - {one for one in (name, shown) if one.startswith("-")}:
        assert ctl("vms", typed, "-o", "json").json[0]["vm_uuid"] == web
        assert ctl("explain", typed).status == 0
    assert ctl("vms", "--", shown).rows[1][0] == shown
    (host,) = {row[0] for row in ctl("status", "--no-headers").rows if row[0] != "host2"}
    for typed in {name, host} - {one for one in (name, host) if one.startswith("-")}:
        assert ctl("status", typed, "-o", "json").json[0]["host_uuid"] == pool.one.uuid
        assert ctl("vfs", "--network", typed, "-o", "json").json


@pytest.mark.parametrize("typed", ["\udcff", "a\x1b[2J", "\x00", "\ufffe"])
def test_what_no_name_can_be_is_not_found(pool: Pool, ctl: Ctl, typed: str) -> None:
    """Bytes that are no UTF-8 come as surrogates (PEP 383)."""
    pool.with_vf("web")
    before = pool.everything()
    for words in (
        ["explain", typed],
        ["status", typed],
        ["vfs", "--network", typed],
        ["vfs", "--port", f"host1/{typed}"],
        ["count", f"host1/{typed}", "2"],
        ["assign", "web", "--device", typed],
        ["assign", "web", "--network", "xenbr1", "--mac", typed],
    ):
        said = ctl(*words)
        assert said.status in (1, 2), words
        assert "unexpectedly" not in said.err, words
        assert not HARMFUL.search(said.err), words
    assert pool.everything() == before
