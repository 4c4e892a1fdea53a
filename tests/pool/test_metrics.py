"""What xcp-rrdd gets of the traffic of VFs, as a reader of its protocol understands it; of which drivers."""

import errno
import os
import re
import signal
import struct
import subprocess
import sys
import time
from typing import Callable, Dict, List, Optional

import kernel_netlink
import pytest
from managed_pool import Pool
from metered import KALLSYMS, MAIL, OTHER, PF0, PF1, VF0, VF1, WEB, Metered, goes_on, unknown
from sriovlib.config import sriov_conf
from sriovlib.machine import pci, xenstore
from sriovlib.machine.vf_counters import Counters
from sriovlib.machine.xenstore_watch import Watch
from sriovlib.traffic import counted_vfs, drivers, payload, service
from sriovlib.traffic.counted_vfs import CountedVf, Found
from sriovlib.traffic.drivers import Counting
from sriovlib.traffic.rates import Carried, Holder
from sriovlib.xapi.rrdd import PERIOD

# -- what is published ---------------------------------------------------------------------------------


def test_two_vms_with_equal_names_have_each_its_own_traffic(running: Metered) -> None:
    """rrd.py's dict would have kept one of them."""
    running.starts(MAIL, {VF1: 1, OTHER: 3})
    running.cards.carry(running.port(PF0), 1, 10**9)
    running.cards.carry(running.port(PF1), 0, 10**9)
    goes_on(running)
    running.cards.carry(running.port(PF0), 1, 50_000)
    running.cards.carry(running.port(PF1), 0, 0, 5_000_000)
    values = goes_on(running)
    assert values == {
        WEB: {"vif_101_rx": 50.0, "vif_101_tx": 0.0},
        MAIL: {"vif_101_rx": 10_000.0, "vif_101_tx": 0.0, "vif_103_rx": 0.0, "vif_103_tx": 1_000_000.0},
    }
    assert running.cards.asked[-2:] == [running.port(PF0), running.port(PF1)]  # one question a port


@pytest.mark.parametrize(
    ("driver", "function", "errors"),
    [
        ("i40e", "i40e_get_vf_stats", {"vif_101_rx_errors": 2.0, "vif_101_tx_errors": 3.0}),
        ("fm10k", "fm10k_ndo_get_vf_stats", {"vif_101_rx_errors": 2.0}),
        ("mlx5_core", "mlx5e_get_vf_stats", {}),
    ],
)
def test_drops_where_the_driver_counts_them(
    metered: Metered, monkeypatch: pytest.MonkeyPatch, driver: str, function: str, errors: Dict[str, float]
) -> None:
    functions = pci.functions(metered.host)
    pfs = [pf._replace(driver=driver) for pf in functions[0]]
    monkeypatch.setattr(pci, "functions", lambda _host: (pfs, functions[1]))
    metered.write("/proc/kallsyms", f"ffffffffc0a00000 t {function}\t[{driver}]\n")
    metered.starts(WEB, {VF0: 1})
    metered.cards.carry(metered.port(PF0), 0, 100)
    metered.period()
    metered.cards.counted[metered.port(PF0)][0].update({"rx_dropped": 10, "tx_dropped": 15})
    assert metered.period()[WEB] == {"vif_101_rx": 0.0, "vif_101_tx": 0.0, **errors}


# XO 6.7.1, as they stand in packages/xo-server/src/xapi-stats.mjs (STATS.vm.vifs and vifErrors),
# packages/xo-server-openmetrics/src/openmetric-formatter.mts (VM_METRICS) and @xen-orchestra/lite/src/libs/
# xapi-stats.ts; and of the legend of /rrd_updates, xapi-stats.mjs, _getAndUpdateStats.
XO = {
    "rx": re.compile(r"^vif_(\d+)_rx$"),
    "tx": re.compile(r"^vif_(\d+)_tx$"),
    "rx errors": re.compile(r"^vif_(\d+)_rx_errors$"),
    "tx errors": re.compile(r"^vif_(\d+)_tx_errors$"),
}
LEGEND = re.compile(r"^AVERAGE:([^:]+):(.+):(.+)$")


def test_xen_orchestra_takes_each_name_for_an_interface() -> None:
    carried = Carried(Holder(WEB, 3, 12), Counters(5, 10, 1, 1, 15, 20), 5.0)
    sources, values = payload.sources({(WEB, 12): (Counting("", True, True), carried)})
    assert values == [1.0, 2.0, 3.0, 4.0]
    matched = {}
    for source in sources:
        legend = LEGEND.match(f"AVERAGE:vm:{source.vm_uuid}:{source.name}")
        assert legend is not None
        assert legend.groups()[:2] == ("vm", WEB)
        found = {kind: known.match(legend.group(3)) for kind, known in XO.items()}
        matched.update({kind: match.group(1) for kind, match in found.items() if match})
    assert matched == dict.fromkeys(XO, "112")


def test_a_request_with_two_vfs_has_no_data_source() -> None:
    """As when a note is wrong: which of them a guest's traffic is of is not known."""
    one = Carried(Holder(WEB, 3, 1), Counters(5, 10, 1, 1, 0, 0), 5.0)
    other = one._replace(holder=Holder(WEB, 3, 2))
    assert payload.by_request({VF0: one, VF1: one, OTHER: other}) == {(WEB, 2): OTHER}


@pytest.mark.story
@pytest.mark.pool(hosts=1)
def test_the_service_knows_a_vf_by_what_the_start_hook_noted(pool: Pool) -> None:
    vm = pool.with_vf("web")
    pool.start(vm, pool.one)
    machine = pool.one.machine
    os.makedirs(machine.path("/proc"), exist_ok=True)
    with open(machine.path(drivers.KALLSYMS), "w") as file:
        file.write(KALLSYMS)
    found = counted_vfs.look(machine)
    assert found is not None
    (domid,) = xenstore.domains_of(machine, vm) or [0]
    assert [(vf.holder, vf.number) for vf in found.vfs.values()] == [(Holder(vm, domid, 1), 0)]


def test_nothing_is_asked_while_no_vf_is_in_use(metered: Metered) -> None:
    metered.period()
    assert metered.service.turn() == service.IDLE_SECONDS
    assert (metered.cards.asked, metered.rrdd.calls, metered.files()) == ([], [], [])


def test_it_waits_for_rrdds_next_reading(running: Metered) -> None:
    for seconds, wait in ((5.0, 4.5), (0.55, 5.05), (0.3, 4.8), (-1.0, 3.5)):
        running.rrdd.seconds = seconds
        assert running.service.turn() == pytest.approx(wait)
    assert running.rrdd.calls[-1] == (
        "Plugin.Local.register",
        {"uid": "xapi-sriov", "info": "Five_Seconds", "protocol": "V2"},
    )


def waited(
    host: Metered, monkeypatch: pytest.MonkeyPatch, seconds: float, after: float, happens: Callable[[], None]
) -> float:
    """How long the service waits, where something happens in that time. A signal is seen within a period."""
    began = host.clock.now
    left = [happens]

    def wait(_watch: Watch, longest: float) -> None:
        assert longest <= PERIOD
        until = began + after if left else host.clock.now + longest
        host.clock.sleep(min(until - host.clock.now, longest))
        if left and host.clock.now == until:
            left.pop()()

    monkeypatch.setattr(Watch, "wait", wait)
    host.service.wait(seconds)
    return host.clock.now - began


def test_a_vm_that_starts_is_looked_at_at_once_where_there_was_none(
    metered: Metered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at every end of another wait."""
    metered.period()
    seconds = waited(metered, monkeypatch, 60, 10, lambda: metered.starts(WEB, {VF0: 1}))
    assert seconds == 10 + service.SETTLE_SECONDS
    metered.stops(WEB)
    metered.period()
    assert waited(metered, monkeypatch, 60, 10, lambda: None) == 60


def test_a_vm_that_starts_shortens_no_period(running: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    """rrdd reads when it reads."""
    assert waited(running, monkeypatch, 4.5, 1, lambda: running.starts(MAIL, {VF1: 1})) == 4.5


def test_an_end_of_xenstored_ends_the_wait(metered: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again after a period, not after a minute."""
    metered.period()
    assert waited(metered, monkeypatch, 60, 10, metered.xenstored.stop) == 10
    assert metered.service.turn() == PERIOD


# -- drivers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kallsyms", ["ffffffffc0a00000 t ixgbe_ndo_get_vf_stats_not\t[ixgbe]\n", None])
def test_a_driver_that_does_not_count_has_nothing_not_0(metered: Metered, kallsyms: Optional[str]) -> None:
    """The kernel answers zeroes; or it is not known whether the driver counts."""
    os.unlink("host/proc/kallsyms")
    if kallsyms is not None:
        metered.write("/proc/kallsyms", kallsyms)
    metered.starts(WEB, {VF0: 1})
    metered.cards.counted[metered.port(PF0)] = {0: {}}
    for _ in range(3):
        assert metered.period()[WEB] == {}
    assert "count" in metered.log
    assert metered.cards.asked == []


def test_a_driver_that_counts_from_another_version_on(metered: Metered) -> None:
    metered.write("/proc/kallsyms", "ffffffffc0a00000 t ixgbe_probe\t[ixgbe]\n")
    metered.starts(WEB, {VF0: 1})
    metered.period()
    assert metered.cards.asked == []
    metered.write("/proc/kallsyms", KALLSYMS)
    os.makedirs("host/sys/module/ixgbe", exist_ok=True)
    metered.write("/sys/module/ixgbe/coresize", "389120\n")
    metered.starts(MAIL, {VF1: 1})
    metered.period()
    assert metered.cards.asked == [metered.port(PF0)]


def test_counters_that_go_backwards(running: Metered) -> None:
    """The VF was made again, or its PF was reset."""
    running.cards.counted[running.port(PF0)][0] = {"rx_bytes": 10, "rx_packets": 1}
    assert unknown(running.period())
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_driver_that_tells_zeroes_for_a_moment(running: Metered) -> None:
    """i40e while it resets a VF: what comes after is no peak."""
    counted = running.cards.counted[running.port(PF0)].pop(0)
    running.cards.counted[running.port(PF0)][0] = {}
    assert unknown(running.period())
    running.cards.counted[running.port(PF0)][0] = counted
    assert goes_on(running)[WEB]["vif_101_rx"] == 25.0  # over ten seconds


def test_a_pf_that_is_gone_stops_none_of_the_others(running: Metered) -> None:
    running.starts(MAIL, {OTHER: 2})
    running.cards.carry(running.port(PF1), 0, 10**9)
    goes_on(running)
    running.cards.errors[running.port(PF0)] = errno.ENODEV
    goes_on(running, PF1)
    goes_on(running, PF1)
    values = goes_on(running, PF1)
    assert unknown(values)
    assert values[MAIL] == {"vif_102_rx": 50.0, "vif_102_tx": 0.0}
    assert running.log.count("No such device") == 1  # said once
    running.cards.errors.clear()
    goes_on(running)
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0
    assert "all ports tell what their VFs carry again" in running.log


def test_a_vf_that_the_kernel_does_not_tell_of(running: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and those that it tells of are known."""
    running.starts(MAIL, {VF1: 2})
    told_of_one = kernel_netlink.attribute(21, struct.pack("=I", 1))
    of_two = kernel_netlink.attribute(21, struct.pack("=I", 2))

    def netlink(request: bytes) -> List[bytes]:
        return [answer.replace(told_of_one, of_two) for answer in running.cards.netlink(request)]

    monkeypatch.setattr(running.host, "netlink", netlink)
    goes_on(running)
    values = goes_on(running)
    assert values == {WEB: {"vif_101_rx": 50.0, "vif_101_tx": 0.0}, MAIL: {}}
    name = running.host.names(f"/sys/bus/pci/devices/{PF0}/net")[0]
    assert running.log.count(f"{name}: the kernel tells of 1 of 2 VFs") == 1


def test_a_port_that_is_another_one_after_its_driver_was_loaded_again(running: Metered) -> None:
    """The kernel gives a new interface a new index."""
    before = running.port(PF0)
    name = running.host.names(f"/sys/bus/pci/devices/{PF0}/net")[0]
    running.cards.errors[before] = errno.ENODEV
    running.write(f"/sys/class/net/{name}/ifindex", "77\n")
    for _ in range(int(service.IDLE_SECONDS / 5) + 1):
        running.cards.carry(77, 0, 250)
        assert unknown(running.period())
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_card_whose_interface_is_gone_for_a_while(metered: Metered) -> None:
    name = metered.host.names(f"/sys/bus/pci/devices/{PF0}/net")[0]
    port = metered.port(PF0)
    os.rename(f"host/sys/class/net/{name}/ifindex", "away")
    metered.starts(WEB, {VF0: 1})
    assert metered.period()[WEB] == {}
    assert f"{VF0}: dom0 has no interface of their port" in metered.log
    os.rename("away", f"host/sys/class/net/{name}/ifindex")
    metered.clock.now += service.IDLE_SECONDS
    metered.cards.carry(port, 0, 250)
    metered.period()
    assert goes_on(metered)[WEB]["vif_101_rx"] == 50.0


def test_1024_vfs_whose_file_outgrows_the_first(running: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    vms = [f"00000000-2222-4333-8444-{number:012d}" for number in range(1024)]
    found = {
        f"0000:{number // 128:02x}:{number % 128:02x}.0": CountedVf(
            Holder(vms[number], number, 1),
            None,
            "eth",
            100 + number // 128,
            number % 128,
            Counting("", True, True),
        )
        for number in range(1024)
    }
    requests = frozenset((vm, 1) for vm in vms)
    monkeypatch.setattr(counted_vfs, "look", lambda _host: Found(found, requests, [], False))
    running.xenstored.tell("/local/domain/0/backend/pci")
    for step in range(3):
        for number in range(1024):
            running.cards.carry(100 + number // 128, number % 128, 10**9 if step == 0 else 5 * number)
        values = running.period(tuple(vms))
    assert [values[vm]["vif_101_rx"] for vm in vms] == [float(number) for number in range(1024)]
    assert len(values[vms[0]]) == 4


# -- switched off --------------------------------------------------------------------------------------


def test_metrics_no_ends_it(running: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        running.service, "wait", lambda _seconds: running.write(sriov_conf.PATH, "[host]\nmetrics = no\n")
    )
    running.service.run()
    assert running.files() == []
    assert "metrics = no" in running.log


def test_a_signal_ends_a_wait_and_lets_a_reading_end(
    running: Metered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on 3.7: SIGTERM came in a callback of importlib's, `Exception ignored in` said stderr, and the
    service went on."""
    turn = running.service.turn

    def told_in_a_turn() -> float:
        running.service.tell_to_end(1)
        return turn()

    with monkeypatch.context() as patch:
        patch.setattr(running.service, "turn", told_in_a_turn)
        assert running.service.run() == 1
    running.service = running.started()
    monkeypatch.setattr(Watch, "wait", lambda *_: running.service.tell_to_end(0))
    with pytest.raises(SystemExit):
        running.service.run()
    assert running.files() == []
    assert "metrics = no" not in running.log


def test_a_change_in_the_second_of_the_last_is_seen(running: Metered) -> None:
    """ext3, which dom0's disk may have, knows times in seconds."""
    for text, wanted in (("yes", True), ("no", False)):
        running.write(sriov_conf.PATH, f"[host]\nmetrics = {text}\n")
        os.utime(running.host.path(sriov_conf.PATH), (7, 7))
        assert running.service.is_wanted() is wanted


@pytest.mark.parametrize(
    ("stop", "status"),
    [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 1)],
    ids=["systemd", "ctrl-c", "reload"],
)
def test_the_service_as_systemd_starts_and_stops_it(metered: Metered, stop: int, status: int) -> None:
    """Status 1 has systemd start it again."""
    process = program()
    deadline = time.monotonic() + 60
    while not metered.xenstored.watched and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(stop)
    assert (process.communicate()[1], process.returncode) == (b"", status)
    assert metered.xenstored.watched == ["/local/domain/0/backend/pci"]


@pytest.mark.usefixtures("metered")
def test_what_the_service_is_can_be_asked() -> None:
    """Without its beginning."""
    said, _ = program("--help").communicate()
    assert b"systemd runs it" in b" ".join(said.split())
    wrong = program("host1")
    assert b"unrecognized arguments: host1" in wrong.communicate()[1]
    assert wrong.returncode == 2


def program(*arguments: str) -> "subprocess.Popen[bytes]":
    entry = os.path.abspath(f"{__file__}/../../../hooks/boot/sriov-metrics")
    dom0 = os.path.abspath(f"{__file__}/../../imitation/dom0")
    return subprocess.Popen(
        [sys.executable, entry, *arguments],
        env={**os.environ, "PYTHONPATH": dom0, "POOL_IN_A_BOX_MACHINE": "host"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
