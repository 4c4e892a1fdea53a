"""The plugin's calls on one host, and hosts on which something goes wrong, for tests that need no pool."""

import copy
import errno
import json
import os
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import kernel_net
import kernel_netlink
import machine
import pytest
from machine import Done, Machine
from machine_description import default_description
from small_pool import SmallPool
from sriovlib.calls import table
from sriovlib.errors import SriovError
from sriovlib.machine import netlink
from sriovlib.machine.host import RUN_FOLDER
from sriovlib.pool import checked_keys, kept_answer, kept_inventories
from sriovlib.vf import create
from sriovlib.xapi.own_session import OwnSession

_TOLD = (f"{RUN_FOLDER}/xapi-", checked_keys.PATH, kept_inventories.PATH, kept_answer.PATH)


def call(host: Machine, pool: Optional[SmallPool], function: str, **args: str) -> Any:
    return json.loads(table.call(host, function, pool or OwnSession("none"), args))


def refused(host: Machine, pool: SmallPool, function: str, **args: str) -> SriovError:
    with pytest.raises(SriovError) as error:
        call(host, pool, function, **args)
    return error.value


def problems(host: Machine, pool: SmallPool, code: str) -> List[Any]:
    """Those of that code that `status` has."""
    return [one for one in call(host, pool, "status")["problems"] if one["code"] == code]


def tree(host: Machine) -> Dict[str, Any]:
    """All files and links of the machine, sysfs and what the imitated kernel keeps among them; but for the
    log, for what xapi and other hosts told (records.py, checked_keys.py, kept_inventories.py,
    kept_answer.py), and for locks, whose files name their last holder, with their folder."""
    found: Dict[str, Any] = {}
    for folder, folders, names in os.walk(host.path("")):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            own = path[len(host.root) :]
            if os.path.islink(path):
                found[own] = os.readlink(path)
            elif not os.path.isfile(path):
                found[own] = None
            elif own != machine.LOG and not own.endswith("lock") and not own.startswith(_TOLD):
                with open(path, "rb") as file:
                    found[own] = (file.read(), os.stat(path).st_mode)
    found.pop(RUN_FOLDER, None)
    return found


def drivers(host: Machine, pf: str) -> List[Optional[str]]:
    """Of the PF's VFs."""
    return [host.link(f"/sys/bus/pci/devices/{vf}/driver") for vf in create.present(host, pf)]


def host_with(folder: Any, changes: Any = None, **sriov: Any) -> Machine:
    """The usual host, whose two-port card differs: the card itself, or its SR-IOV."""
    management, card = default_description().cards
    assert card.sriov
    card = card._replace(sriov=card.sriov._replace(**sriov), **(changes or {}))
    return machine.default_host(str(folder), cards=(management, card))


def odd(host: Machine, name: str, instead: Callable[..., Any]) -> Machine:
    """The host, with one way to the machine exchanged; `instead` is given the real one first."""
    changed = copy.copy(host)
    setattr(changed, name, partial(instead, getattr(host, name)))
    return changed


def refusing(host: Machine, number: int, end: str, text: Optional[str] = None) -> Machine:
    """The kernel takes no write (no `text`) to attributes whose path ends so."""

    def write(real: Callable[..., None], path: str, written: str) -> None:
        if path.endswith(end) and text in (None, written):
            raise OSError(number, os.strerror(number), path)
        real(path, written)

    return odd(host, "write_attribute", write)


def unreadable(host: Machine, begin: str) -> Machine:
    """Files whose path begins so cannot be read."""

    def read(real: Callable[..., bytes], path: str) -> bytes:
        if path.startswith(begin):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path)

    return odd(host, "read_bytes", read)


def listing(host: Machine, change: Callable[[str, List[str]], List[str]]) -> Machine:
    """Folders have other names in them: `change` is given the folder and what it has."""
    return odd(host, "names", lambda real, path: change(path, real(path)))


def answering(host: Machine, words: str, **other: Any) -> Machine:
    """A command answers otherwise: the one of just these words, or all of a program."""

    def start(real: Callable[..., Any], argv: Any, input_text: Any = None) -> Any:
        running = real(argv, input_text)
        return Done(running.finish()._replace(**other)) if words in (argv[0], " ".join(argv)) else running

    return odd(host, "start", start)


def not_telling(host: Machine, interface: str, number: Optional[int] = None) -> Machine:
    """The kernel refuses to tell of an interface; without a number it tells of none of its VFs, as of igb's
    whose driver was loaded anew while guests had them."""

    def answer(real: Callable[..., Any], request: bytes) -> Any:
        return not_told(real(request), request, interface, number)

    return odd(host, "netlink", answer)


def not_told(
    answer: List[bytes], request: bytes, interface: str, number: Optional[int] = None
) -> List[bytes]:
    if interface.encode() + b"\0" not in request:
        return answer
    if number is not None:
        return [kernel_netlink.refusal(number)]
    told = netlink._link(answer[0])
    return [kernel_netlink.new_link(interface, 2, [], num_vfs=told.num_vfs)]


def card_takes(monkeypatch: pytest.MonkeyPatch, instead: Callable[..., None]) -> None:
    """How cards take settings: `instead` is given what a card does with some, a VF's number, and those."""
    real = kernel_net.set_vf

    def set_vf(sysfs: Any, title: str, index: int, changes: Any) -> None:
        instead(partial(real, sysfs, title, index), index, changes)

    monkeypatch.setattr(kernel_net, "set_vf", set_vf)


def counting(host: Machine) -> Tuple[Machine, List[str]]:
    """The commands that are started from now on."""
    started: List[str] = []

    def start(real: Callable[..., Any], argv: Any, input_text: Any = None) -> Any:
        started.append(" ".join(argv))
        return real(argv, input_text)

    return odd(host, "start", start), started
