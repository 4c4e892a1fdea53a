"""What node_exporter's textfile collector is given of the traffic of VFs, by what Prometheus makes of it."""

import errno
import os
import re
import shutil
import subprocess
from typing import Dict, Tuple

import pytest
from metered import MAIL, OTHER, PF0, PF1, VF0, VF1, WEB, Metered, goes_on
from sriovlib.config import sriov_conf
from sriovlib.traffic.service import TEXTFILE

Labels = Tuple[Tuple[str, str], ...]
_LINE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\d+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"')
ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


@pytest.fixture
def written(running: Metered) -> Metered:
    """WEB runs with VF 0, and the file is asked for."""
    running.write(sriov_conf.PATH, "[host]\ntextfile = yes\n")
    assert running.service.is_wanted()
    goes_on(running)
    return running


def samples(host: Metered) -> Dict[str, Dict[Labels, int]]:
    """Name -> labels -> value, by the text format (prometheus/docs: exposition_formats.md)."""
    found: Dict[str, Dict[Labels, int]] = {}
    for line in host.host.read(TEXTFILE).splitlines():
        if not line.startswith("# "):
            match = _LINE.fullmatch(line)
            assert match is not None, line
            labels = tuple((name, unescaped(value)) for name, value in _LABEL.findall(match.group(2)))
            found.setdefault(match.group(1), {})[labels] = int(match.group(3))
    return found


def unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda one: ESCAPES[str(one.group(1))], value)


def of(host: Metered, vm: str, vf: str, number: int, request: int = 1) -> Labels:
    interface = host.host.names(f"/sys/bus/pci/devices/{PF0}/net")[0]
    return (
        ("pci_address", vf),
        ("pf", interface),
        ("vf", str(number)),
        ("vm_uuid", vm),
        ("request", str(request)),
    )


def test_counters_of_a_vm_begin_with_0(written: Metered) -> None:
    """The fixture's 5,000 bytes and the five seconds after them; not the terabyte of VMs before."""
    goes_on(written)
    found = samples(written)
    web = of(written, WEB, VF0, 0)
    assert sorted(found) == [
        "sriov_vf_info",
        "sriov_vf_rx_bytes_total",
        "sriov_vf_rx_packets_total",
        "sriov_vf_tx_bytes_total",
        "sriov_vf_tx_packets_total",
    ]  # ixgbe counts no drops
    assert found["sriov_vf_rx_bytes_total"] == {web: 5500}
    assert found["sriov_vf_tx_bytes_total"] == {web: 500}


def test_a_name_with_quotes_and_line_breaks(written: Metered) -> None:
    assert list(samples(written)["sriov_vf_info"]) == [(*of(written, WEB, VF0, 0), ("vm", 'web\'s\n"name"'))]


def test_a_port_that_is_renamed_has_its_new_name_in_the_next_file(written: Metered) -> None:
    """The old one may be another port's by now, which is in another network."""
    (before,) = written.host.names(f"/sys/bus/pci/devices/{PF0}/net")
    link = written.host.path(f"/sys/class/net/{before}")
    real = os.path.realpath(link)
    os.unlink(link)
    os.rename(real, f"{os.path.dirname(real)}/eth77")
    os.symlink(f"{os.path.dirname(real)}/eth77", written.host.path("/sys/class/net/eth77"))
    goes_on(written)
    goes_on(written)
    assert of(written, WEB, VF0, 0)[1] == ("pf", "eth77")
    assert samples(written)["sriov_vf_rx_bytes_total"] == {of(written, WEB, VF0, 0): 5750}


def test_a_reboot_and_another_vm_begin_with_0(written: Metered) -> None:
    written.stops(WEB)
    written.starts(WEB, {VF1: 1})
    written.starts(MAIL, {VF0: 2})
    written.cards.carry(written.port(PF0), 0, 10**9)
    written.cards.carry(written.port(PF0), 1, 10**9)
    goes_on(written)
    expected = {of(written, MAIL, VF0, 0, 2): 0, of(written, WEB, VF1, 1): 0}
    assert samples(written)["sriov_vf_rx_bytes_total"] == expected
    goes_on(written)
    expected[of(written, MAIL, VF0, 0, 2)] = 250
    assert samples(written)["sriov_vf_rx_bytes_total"] == expected


def test_a_counter_goes_on_after_the_driver_began_anew(written: Metered) -> None:
    written.cards.counted[written.port(PF0)][0] = {"rx_bytes": 10, "rx_packets": 1}
    written.period()
    goes_on(written)
    assert samples(written)["sriov_vf_rx_bytes_total"] == {of(written, WEB, VF0, 0): 5500}


@pytest.mark.parametrize("is_told", [False, True])
def test_a_counter_that_is_not_told_any_more_does_not_stand_still(written: Metered, is_told: bool) -> None:
    """Prometheus would take that for a VF without traffic. It goes on later from where it was."""
    web, port = of(written, WEB, VF0, 0), written.port(PF0)
    written.starts(MAIL, {OTHER: 2})
    counted = written.cards.counted[port].pop(0)
    written.cards.counted[port][0] = {}
    if not is_told:
        written.cards.errors[port] = errno.ENODEV
    found = []
    for _ in range(6):
        goes_on(written, PF1)
        found.append(set(samples(written)["sriov_vf_rx_bytes_total"]))
    assert web in found[0]  # for a moment, in which a VF is reset
    assert web not in found[-1]
    written.cards.errors.clear()
    written.cards.counted[port][0] = counted
    for _ in range(2):
        goes_on(written)
    assert samples(written)["sriov_vf_rx_bytes_total"][web] == 5500


def test_the_file_goes_with_the_last_vm_and_with_the_service(written: Metered) -> None:
    written.service.end()
    assert not written.host.exists(TEXTFILE)
    written.service = written.started()
    assert written.service.is_wanted()
    goes_on(written)
    assert written.host.exists(TEXTFILE)
    written.stops(WEB)
    written.period()
    assert not written.host.exists(TEXTFILE)


def test_a_conf_that_cannot_be_read_changes_nothing(
    written: Metered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read when it can be, though nobody has written it since."""
    real = written.host.read_bytes

    def fails(path: str) -> bytes:
        if path == sriov_conf.PATH:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    with monkeypatch.context() as during:
        during.setattr(written.host, "read_bytes", fails)
        for text in ("[host]\n", "[host]\nmetrics = no\n"):
            written.write(sriov_conf.PATH, text)
            assert written.service.is_wanted()
            goes_on(written)
            assert written.host.exists(TEXTFILE)
    assert written.log.count(f"{sriov_conf.PATH}: the file cannot be read: Input/output error") == 1
    assert not written.service.is_wanted()


def test_nobody_is_given_a_file_who_has_not_asked(running: Metered) -> None:
    goes_on(running)
    assert not running.host.exists(TEXTFILE)


def test_a_file_that_cannot_be_written_stops_no_statistics(written: Metered) -> None:
    os.unlink(written.host.path(TEXTFILE))
    os.makedirs(written.host.path(TEXTFILE) + "/in the way")
    assert goes_on(written)[WEB]["vif_101_rx"] == 50.0
    assert f"{TEXTFILE} cannot be written" in written.log


def test_promtool_has_nothing_to_say(written: Metered) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    goes_on(written)
    text = written.host.read_bytes(TEXTFILE)
    ended = subprocess.run(
        ["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert (ended.returncode, ended.stdout) == (0, b"")
