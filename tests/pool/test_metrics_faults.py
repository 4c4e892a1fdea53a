"""Whose the traffic of a VF is while VMs come and go, and what is told where xenstore or rrdd is silent."""

import errno
import math
import os
import subprocess
import xmlrpc.client
from contextlib import contextmanager, suppress
from typing import Iterator, List

import pytest
from metered import MAIL, PF0, VF0, VF1, WEB, Metered, goes_on, unknown
from rrdd import FOLDER, http
from sriovlib.machine import metrics_file, xenstore
from sriovlib.vf import start_notes
from sriovlib.xapi.rrdd import PERIOD

# -- whose it is ---------------------------------------------------------------------------------------


def test_the_end_of_a_vm(running: Metered) -> None:
    running.stops(WEB)
    assert unknown(goes_on(running))
    assert running.files() == []


def test_a_vf_that_changes_its_vm_between_two_readings(running: Metered) -> None:
    running.stops(WEB)
    running.starts(MAIL, {VF0: 1})
    running.cards.carry(running.port(PF0), 0, 10**9)
    values = goes_on(running)
    assert unknown(values)
    assert values[MAIL] == {}
    assert goes_on(running)[MAIL] == {"vif_101_rx": 50.0, "vif_101_tx": 0.0}


def test_a_vf_that_changes_its_vm_while_it_is_read(running: Metered) -> None:
    """The counters are read, and then it is another VM's."""

    def change() -> None:
        running.cards.before_answer = lambda: None
        running.stops(WEB)
        running.starts(MAIL, {VF0: 1})

    running.cards.before_answer = change
    running.cards.carry(running.port(PF0), 0, 10**9)
    assert unknown(goes_on(running))
    running.cards.carry(running.port(PF0), 0, 10**9)
    assert unknown(goes_on(running), MAIL)
    assert goes_on(running)[MAIL] == {"vif_101_rx": 50.0, "vif_101_tx": 0.0}


def test_a_vf_that_another_vm_had_for_a_moment(running: Metered) -> None:
    """It is the first one's at both readings."""
    running.stops(WEB)
    running.starts(MAIL, {VF0: 1})
    running.cards.carry(running.port(PF0), 0, 10**9)
    running.stops(MAIL)
    running.starts(WEB, {VF0: 1})
    assert unknown(goes_on(running))
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_vf_that_was_unplugged_for_a_moment(running: Metered) -> None:
    """From the running VM; another had it meanwhile, and both domains are those that they were."""
    running.xenstored.tell(f"/local/domain/0/backend/pci/{running.domids[WEB]}/0/dev-0")
    running.cards.carry(running.port(PF0), 0, 10**9)
    assert unknown(goes_on(running))
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_reboot_has_no_peak(running: Metered) -> None:
    """The card counts on, and rrdd would take a counter of a new domain as having begun with 0."""
    running.stops(WEB)
    running.starts(WEB, {VF0: 1})
    assert unknown(goes_on(running))
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_device_that_is_no_vf_of_a_request_has_none(metered: Metered) -> None:
    """An entry by hand, a VM without a note, and a VM that started before notes had numbers."""
    metered.starts(WEB, {VF0: 1}, note=False)
    start_notes.write(metered.host, MAIL, [VF1], {VF1: {"vlan": "12"}}, {})
    metered.starts(MAIL, {VF1: 1}, note=False)
    for _ in range(3):
        metered.cards.carry(metered.port(PF0), 0, 100)
        metered.cards.carry(metered.port(PF0), 1, 100)
        assert metered.period() == {WEB: {}, MAIL: {}}


def test_xenstore_that_does_not_answer(running: Metered) -> None:
    running.xenstored.stop()
    assert unknown(goes_on(running))
    assert "xenstore does not tell which VMs have VFs" in running.log
    running.stops(WEB)
    running.starts(MAIL, {VF0: 1})
    running.xenstored.start()
    goes_on(running)
    values = goes_on(running)
    assert unknown(values)
    assert values[MAIL]["vif_101_rx"] == 50.0
    assert "xenstore tells which VMs have VFs again" in running.log


def test_the_command_of_xenstore_fails(running: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(xenstore, "owners", lambda _host: None)
        running.starts(MAIL, {VF1: 1})
        assert unknown(goes_on(running))
    goes_on(running)
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


# -- what is recorded where nothing is known --------------------------------------------------------------


def test_minutes_of_which_nothing_is_known_are_not_0(running: Metered) -> None:
    """The driver tells zeroes, or the port is gone, or xenstore does not tell: rrdd records 0 of what is
    missing."""
    for _ in range(24):
        goes_on(running)
    minutes = running.rrdd.archives[WEB]["vif_101_rx"].minutes.values
    assert minutes[-1] == pytest.approx(50.0)
    before = len(minutes)
    running.cards.counted[running.port(PF0)][0] = {}
    for _ in range(12):
        running.period()
    running.cards.errors[running.port(PF0)] = errno.ENODEV
    for _ in range(12):
        running.period()
    os.rename(f"host/sys/bus/pci/devices/{PF0}/driver", "away")
    running.xenstored.tell("/local/domain/0/backend/pci")
    for _ in range(12):
        running.period()
    running.xenstored.stop()
    for _ in range(14):
        running.period()
    assert all(map(math.isnan, minutes[before + 1 :]))
    assert len(minutes) >= before + 4


def test_the_first_seconds_after_a_reboot_have_not_the_last_value_before_it(running: Metered) -> None:
    goes_on(running)
    running.stops(WEB)
    running.starts(WEB, {VF0: 1})
    goes_on(running)
    seconds = running.rrdd.archives[WEB]["vif_101_rx"].seconds.values
    assert seconds[-1] == 0.0  # rrdd's word for unknown there
    goes_on(running)
    assert seconds[-1] == 50.0


def test_vms_that_come_and_go_are_forgotten(running: Metered) -> None:
    running.stops(WEB)
    running.period()
    assert running.kept == [(WEB, 1)]  # it may be a reboot
    for number in range(3):
        running.clock.now += start_notes.STALE_SECONDS
        vm = f"00000000-2222-4333-8444-{number:012d}"
        running.starts(vm, {VF1: 1})
        for _ in range(3):
            running.cards.carry(running.port(PF0), 1, 250)
            running.period((vm,))
        running.stops(vm)
        running.period()
        assert running.kept == [(vm, 1)]


# -- xcp-rrdd ------------------------------------------------------------------------------------------


def test_rrdd_that_is_not_there(running: Metered) -> None:
    running.rrdd.stop()
    running.clock.now += 5
    assert running.service.turn() == PERIOD
    assert running.files() == []  # it would find what is old when it comes back
    said = "xcp-rrdd gets no statistics of VFs: /var/xapi/xcp-rrdd: [Errno 2] No such file or directory"
    assert said in running.log
    running.rrdd.start()
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_restart_of_rrdd(running: Metered) -> None:
    running.rrdd.stop()
    running.rrdd.start()
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 401 Go away\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n<",
        http(200, xmlrpc.client.dumps(({"Status": "Success", "Value": math.nan},), methodresponse=True)),
        http(200, xmlrpc.client.dumps(({"Status": "Success", "Value": "soon"},), methodresponse=True)),
        http(
            200,
            xmlrpc.client.dumps(({"Status": "Failure", "ErrorDescription": ["no"]},), methodresponse=True),
        ),
    ],
)
def test_rrdd_that_answers_what_is_no_answer(running: Metered, answer: bytes) -> None:
    running.rrdd.answer = answer
    goes_on(running)
    assert running.files() == []
    assert ("it refuses: ['no']" in running.log) == (b"ErrorDescription" in answer)
    running.rrdd.answer = None
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_rrdd_that_does_not_see_that_there_is_another_file(running: Metered) -> None:
    """Its thread sleeps ten seconds after an error."""
    running.rrdd.is_blind = True
    running.service.end()
    running.service = running.started()
    goes_on(running)
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_file_that_somebody_removed(running: Metered) -> None:
    """Each time it is made anew, and the old one is not held open."""
    goes_on(running)
    held = open_files()
    for _ in range(3):
        os.unlink(f"host{FOLDER}/xapi-sriov")
        assert goes_on(running)[WEB]["vif_101_rx"] == 50.0
    assert open_files() == held


def open_files() -> List[str]:
    """Those of this rrdd's folder that this process has open, by name; one that was removed says so. Threads
    of imitations open and close others meanwhile, and what earlier tests left goes when Python likes."""
    folder, found = os.path.realpath(f"host{FOLDER}"), []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            found += [os.path.basename(path)] if os.path.dirname(path) == folder else []
    return sorted(found)


@pytest.mark.parametrize("name", ["xapi-sriov", "xapi-sriov.tmp"])
def test_a_folder_in_the_place_of_the_file(running: Metered, name: str) -> None:
    """It is said which, and left to whom it belongs."""
    os.unlink(f"host{FOLDER}/xapi-sriov")
    os.mkdir(f"host{FOLDER}/{name}")
    assert unknown(goes_on(running))
    assert "xcp-rrdd gets no statistics of VFs: /dev/shm/metrics/xapi-sriov: " in running.log
    assert running.files() == [name]
    os.rmdir(f"host{FOLDER}/{name}")
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_a_link_in_the_place_of_the_file(running: Metered) -> None:
    """Nothing is written through it."""
    running.write("/other", "theirs")
    os.unlink(f"host{FOLDER}/xapi-sriov")
    os.symlink(os.path.abspath("host/other"), f"host{FOLDER}/xapi-sriov")
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0
    assert running.host.text("/other") == "theirs"


def test_a_file_that_somebody_cut_off(running: Metered) -> None:
    """rrdd has all of it in its memory, and would die of a page that is no more there."""
    os.truncate(f"host{FOLDER}/xapi-sriov", 10)
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0
    assert os.stat(f"host{FOLDER}/xapi-sriov").st_size == metrics_file.SMALLEST


@contextmanager
def with_room_for(size: int) -> Iterator[None]:
    """A tmpfs of that size in the place of the folder."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", "host" + FOLDER]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("only root can mount a small tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", "host" + FOLDER], check=True)


@pytest.mark.usefixtures("running")
def test_the_file_has_all_its_pages() -> None:
    """Where /dev/shm is full, rrdd would die of one that is not there yet."""
    found = os.stat(f"host{FOLDER}/xapi-sriov")
    assert found.st_blocks * 512 >= found.st_size >= metrics_file.SMALLEST


def test_dev_shm_that_is_full(running: Metered) -> None:
    running.rrdd.stop()
    with with_room_for(32768):
        running.rrdd.start()
        running.clock.now += 5
        assert running.service.turn() == PERIOD
        assert running.files() == []
        assert "No space left on device" in running.log
        running.rrdd.stop()
    running.rrdd.start()
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0


def test_what_a_killed_service_left(running: Metered) -> None:
    os.link(f"host{FOLDER}/xapi-sriov", "left")
    running.service.end()
    os.rename("left", f"host{FOLDER}/xapi-sriov")
    running.write(f"{FOLDER}/xapi-sriov.tmp", "")
    running.rrdd.discover()
    running.service = running.started()
    goes_on(running)
    assert goes_on(running)[WEB]["vif_101_rx"] == 50.0
    running.stops(WEB)
    running.period()
    assert running.files() == []
