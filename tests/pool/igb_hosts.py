"""Hosts whose driver makes VFs by a module parameter, and what tests ask of them."""

from pathlib import Path
from typing import Any, Dict, List, Tuple

import machine
import one_host
from machine import Machine
from machine_description import Card, Sriov, intel_82599
from one_host import call, problems
from small_pool import SmallPool
from sriovlib.config import sriov_conf
from sriovlib.errors import SriovError
from sriovlib.vf import create

CONF, IMAGE = "/etc/modprobe.d/igb.conf", "/boot/initrd-4.19.0+1.img"
COMMENTS = "# VFs-param: max_vfs\n# VFs-maxvfs-by-default: 7\n# VFs-maxvfs-by-user:\n"
ETH2, ETH3 = "0000:05:00.2", "0000:05:00.3"


def i350(first: int, addresses: Tuple[str, ...], **sriov: Any) -> Card:
    """Ports of an I350, called eth<first> and so on."""
    return Card(
        addresses,
        "8086:1521",
        "I350 Gigabit Network Connection",
        "igb",
        interfaces=tuple(f"eth{first + index}" for index in range(len(addresses))),
        macs=tuple(f"a0:36:9f:00:00:{first + index:02x}" for index in range(len(addresses))),
        sriov=Sriov(
            7, "1520", offset=128, stride=4, driver="igbvf", parameter="max_vfs", in_driver=False, **sriov
        ),
    )


FOUR = tuple(f"0000:05:00.{port}" for port in range(4))
I210 = Card(("0000:03:00.0",), "8086:1533", "I210", "igb", interfaces=("eth0",), macs=("a0:36:9f:00:00:00",))


def igb_host(folder: Path, text: str, cards: Tuple[Card, ...] = (i350(0, FOUR),), **changes: Any) -> Machine:
    """A host whose cards are all igb's; the management network is on eth1 if there is nothing else said."""
    described: Dict[str, Any] = {"management_interface": "eth1", "interfaces": (), **changes}
    host = machine.default_host(str(folder), cards=cards, **described)
    host.replace_file(CONF, (COMMENTS + text).encode())
    reboot(host)
    return host


def reboot(host: Machine) -> None:
    """With an initrd that has the files as they are."""
    host.run(["dracut", "-f", IMAGE, "4.19.0+1"])
    host.reboot()


def count(host: Machine, pool: SmallPool, pf: str, number: int) -> Any:
    return call(host, pool, "set_vf_count", pf=pf, count=str(number))


def refused(host: Machine, pool: SmallPool, pf: str, number: int) -> SriovError:
    before = [host.read(CONF), host.read(IMAGE), host.exists(sriov_conf.PATH)]
    error = one_host.refused(host, pool, "set_vf_count", pf=pf, count=str(number))
    assert [host.read(CONF), host.read(IMAGE), host.exists(sriov_conf.PATH)] == before
    return error


def option(host: Machine) -> str:
    return host.read(CONF)[len(COMMENTS) :]


def present(host: Machine, addresses: Tuple[str, ...] = FOUR) -> List[int]:
    return [len(create.present(host, address)) for address in addresses]


def drift(host: Machine, pool: SmallPool) -> Any:
    (found,) = problems(host, pool, "DRIFT")
    return found


def default_management() -> Tuple[Card, ...]:
    return (intel_82599(("0000:02:00.0",), ("eth0",), ("00:16:3e:00:01:00",)),)
