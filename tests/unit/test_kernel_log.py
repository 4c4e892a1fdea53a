"""What the kernel's log has against VFs, and what it is not to be blamed for any more."""

import errno
import os
import time
from typing import List, Optional

import pytest
from answering_host import AnsweringHost, add_interface, add_pf
from pyfakefs.fake_filesystem import FakeFilesystem
from sriovlib.errors import SriovError
from sriovlib.machine import host as host_module
from sriovlib.machine import kernel_log
from sriovlib.machine.host import Host
from sriovlib.vf import create, host_inventory, kernel_refusal, pciback

PF = "0000:07:00.0"
VF = "0000:07:10.0"
BORN = f"pci {VF}: [8086:10ed] type 00 class 0x020000"
NO_SPACE = f"pci {PF}: BAR {{}}: no space for [mem size 0x00100000 64bit pref]"
ASSIGNED = f"pci {PF}: BAR {{}}: assigned [mem 0xfb000000-0xfb0fffff 64bit pref]"
NEWER = f"pci {PF}: VF BAR 0 [mem 0xfb000000-0xfb0fffff]: assigned"
REFUSED = f"ixgbe {PF}: not enough MMIO resources for SR-IOV"
OUT_OF_BUSES = f"pci {PF}: can't enable 64 VFs (bus 0b out of range of [bus 07])"
MMIO = "NO_MMIO_SPACE"


def evidence(*lines: str) -> List[kernel_log.Evidence]:
    host = AnsweringHost({"kernel log": "\n".join(lines)})
    return kernel_log.evidence(kernel_log.of_vfs(host), {VF: PF}).get(PF, [])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("[    3.1] ixgbe 0000:07:00.0: not enough MMIO resources for SR-IOV", MMIO),
        ("[    0.9] pci 0000:07:00.0: BAR 7: no space for [mem size 0x00100000 64bit]", MMIO),
        ("pci 0000:07:00.0: VF BAR 0 [mem size 0x00100000]: can't assign; no space", MMIO),
        ("igb 0000:07:00.0: SR-IOV: bus number out of range", "NO_BUS_NUMBERS"),
        (OUT_OF_BUSES, "NO_BUS_NUMBERS"),
        (
            "mlx4_core 0000:07:00.0: Driver does not support SRIOV configuration via sysfs",
            "DRIVER_WITHOUT_SRIOV",
        ),
    ],
)
def test_kernel_log_lines_against_a_device(line: str, code: str) -> None:
    (found,) = evidence("[    0.0] Linux version 4.19", line, line)
    assert found.code == code
    assert not found.line.startswith("[")


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        # other BARs and other lines
        ([NO_SPACE.format(6), f"ixgbe {PF}: SR-IOV enabled with 63 VFs"], []),
        # room that was found in a later try, for that BAR
        ([NO_SPACE.format(7)], [MMIO]),
        ([NO_SPACE.format(7), ASSIGNED.format(7)], []),
        ([ASSIGNED.format(7), NO_SPACE.format(7)], [MMIO]),
        ([NO_SPACE.format(7), NO_SPACE.format(10), ASSIGNED.format(7)], [MMIO]),
        ([NO_SPACE.format(7), NO_SPACE.format(10), ASSIGNED.format(10), ASSIGNED.format(7)], []),
        # a BAR by its name in newer kernels
        ([NO_SPACE.format(7), NEWER], []),
        ([f"pci {PF}: VF BAR 3 [mem size 0x00100000]: can't assign; no space", NEWER], [MMIO]),
        # a BAR of the PF itself
        ([NO_SPACE.format(7), ASSIGNED.format(0)], [MMIO]),
        # what was before the VFs were made
        ([REFUSED, OUT_OF_BUSES], [MMIO, "NO_BUS_NUMBERS"]),
        ([REFUSED, OUT_OF_BUSES, BORN], []),
        ([BORN, REFUSED], [MMIO]),
        ([REFUSED, "pci 0000:09:10.0: [8086:10ed] type 00 class 0x020000"], [MMIO]),
    ],
)
def test_a_reason_counts_until_a_later_line_ends_it(lines: List[str], codes: List[str]) -> None:
    assert [one.code for one in evidence(*lines)] == codes


def test_status_names_a_code_once_with_all_its_lines(fs: FakeFilesystem) -> None:
    add_pf(fs, PF, "8086:10fb", "ixgbe", 0)
    add_interface(fs, PF, "eth1", "00:1b:21:00:01:00")
    host = AnsweringHost({"kernel log": f"{NO_SPACE.format(7)}\n{NO_SPACE.format(10)}\n"})
    told = host_inventory.read(host).to_json()["pfs"][0]["problems"]
    (problem,) = [one for one in told if one["code"] == "NO_MMIO_SPACE"]
    assert "BAR 7" in problem["message"]
    assert "BAR 10" in problem["message"]


def test_kernel_log_of_a_former_driver_does_not_count(fs: FakeFilesystem) -> None:
    """`echo 4 > sriov_numvfs` while pciback had the PF; then it was given back."""
    add_pf(fs, PF, "8086:10fb", "ixgbe", 0)
    add_interface(fs, PF, "eth1", "00:1b:21:00:01:00")
    for driver, expected in (("pciback", []), ("ixgbe", ["DRIVER_WITHOUT_SRIOV"])):
        line = f"[ 9.0] {driver} {PF}: driver does not support SR-IOV configuration via sysfs\n"
        told = host_inventory.read(AnsweringHost({"kernel log": line})).to_json()["pfs"][0]["problems"]
        assert [one["code"] for one in told if one["code"] == "DRIVER_WITHOUT_SRIOV"] == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b"], ["b", "c", "d"], ["c", "d"]),  # the ring dropped `a`
        (["a", "b"], ["c", "d"], ["c", "d"]),  # and all of it
        (["a", "b"], ["a", "b"], []),
        ([], ["a"], ["a"]),
        (["a", "b"], [], []),
        (["a", "b"], ["a", "b", "a", "b"], ["a", "b"]),  # no times, and the same once more
    ],
)
def test_kernel_log_lines_since_a_moment(before: List[str], after: List[str], expected: List[str]) -> None:
    assert kernel_log.newer(before, after) == expected


# -- the cause, and what helps -------------------------------------------------------------------

ICE = [
    f"[ 10.1] ice {PF}: Enabling 4 VFs",
    f"[ 10.2] ice {PF}: Only 0 MSI-X interrupts available for SR-IOV. Not enough to support minimum of 2 "
    "MSI-X interrupts per VF for 4 VFs",
    f"[ 10.2] ice {PF}: Not enough resources for 4 VFs, err -28. Try with fewer number of VFs",
    f"[ 10.3] ice {PF}: Failed to enable SR-IOV: -28",
]
IXGBE = (
    f"ixgbe {PF}: Currently configured with 4 TCs, and 0 offloaded macvlans. Creating more than 31 VFs is "
    "not allowed"
)


@pytest.mark.parametrize(
    ("lines", "number", "cause", "helps"),
    [
        (ICE, errno.ENOSPC, "Only 0 MSI-X", "too few interrupts or queues"),
        ([IXGBE], errno.EPERM, "more than 31", "at most 31"),
        (
            [
                f"ixgbe {PF}: not enough MMIO resources for SR-IOV",
                f"ixgbe {PF} eth1: Failed to enable PCI sriov: -12",
            ],
            errno.ENOMEM,
            "not enough MMIO",
            "above 4G",
        ),
        (
            [
                f"i40e {PF}: Unable to enable 64 VFs. Limited to 32 VFs due to device resource constraints.",
            ],
            errno.EPERM,
            "Limited to 32",
            "at most 32",
        ),
        (
            [f"i40e {PF}: Unable to configure VFs, other operation is pending."],
            errno.EAGAIN,
            "is pending",
            "again",
        ),
        (
            [
                f"pci {PF}: can't enable 64 VFs (bus 0b out of range of [bus 07])",
                f"i40e {PF}: Failed to enable SR-IOV: -12",
            ],
            errno.ENOMEM,
            "out of range",
            "ARI",
        ),
        (
            [
                f"mlx5_core {PF}: mlx5_device_enable_sriov:83:(pid 9): failed to enable eswitch SRIOV (-5)",
                f"mlx5_core {PF}: mlx5_sriov_enable:168:(pid 9): mlx5_device_enable_sriov failed : -5",
            ],
            errno.EIO,
            "eswitch",
            "firmware",
        ),
        (
            [
                f"bnxt_en {PF} eth1: Only able to reserve resources for 16 VFs.",
                f"bnxt_en {PF} eth1: Requested VFs 32, can enable 16",
            ],
            errno.ENOMEM,
            "16 VFs.",
            "at most 16",
        ),
        (
            [f"bnxt_en {PF} eth1: Reject SRIOV config request since if is down!"],
            errno.EINVAL,
            "if is down",
            "interface up",
        ),
        (
            [f"ice {PF}: SR-IOV cannot be configured - Device is in Safe Mode"],
            errno.EOPNOTSUPP,
            "Safe Mode",
            "DDP",
        ),
        (
            [
                f"cxgb4 {PF}: Parent bridge 00:02.0 doesn't support ARI; can't instantiate Virtual Functions",
            ],
            errno.EOPNOTSUPP,
            "ARI",
            "ARI",
        ),
        (
            [f"be2net {PF}: VF setup failed", f"be2net {PF}: SRIOV enable failed"],
            errno.ENODEV,
            "VF setup failed",
            "driver",
        ),
        (
            [f"qat {PF}: IOMMU should be enabled for SR-IOV to work correctly"],
            errno.EFAULT,
            "IOMMU should be",
            "firmware",
        ),
        ([f"igb {PF}: Cannot modify SR-IOV while VFs are assigned"], errno.EPERM, "assigned", "list_vfs"),
        (["[qed_sriov_enable:2488(eth1)]Can start at most 8 VFs"], errno.EINVAL, "Can start", "at most 8"),
        (
            [
                "bnx2x: [bnx2x_sriov_configure:2521(eth1)]VF num configuration via sysfs not supported while "
                "PF is down"
            ],
            errno.EINVAL,
            "PF is down",
            "interface up",
        ),
        (  # with a success, and no VFs
            [f"bnxt_en {PF} eth1: Reject SRIOV config request when FW reset is in progress"],
            errno.ENOSPC,
            "FW reset",
            "call again in a minute",
        ),
        ([f"ixgbe {PF} eth1: SRIOV is not supported with XDP"], errno.EINVAL, "XDP", "remove that cause"),
        ([f"i40e {PF}: Failed to enable SR-IOV: -12"], errno.ENOMEM, "-12", "above 4G"),
        ([], errno.EPERM, "", "list_vfs"),
        ([], errno.ERANGE, "", "total_vfs"),
        ([], errno.ENOMEM, "", "bus numbers"),
    ],
)
def test_the_cause_stands_before_what_drivers_make_of_it(
    lines: List[str], number: int, cause: str, helps: str
) -> None:
    noise = [f"[ 9.0] ixgbe {PF} eth1: NIC Link is Up 10 Gbps", ASSIGNED.format(7)] if lines else []
    found = kernel_refusal.cause([*noise, *lines, *noise[:1]])
    assert cause in found
    assert not found.startswith("[")
    assert helps in kernel_refusal.hint(number, found)


@pytest.mark.parametrize(
    ("line", "driver", "expected"),
    [
        (f"ice {PF}: Failed to enable SR-IOV: -28", None, True),
        ("[qed_sriov_enable:4900(eth1)]Can't start IOV when device is recovering", None, True),
        ("[qed_sriov_enable:4900(eth10)]Can't start IOV when device is recovering", None, False),
        ("[ 10.3] cxgb4: Unable to instantiate 4 VFs", "cxgb4", True),
        ("[ 10.3] xenbr1: port 1(eth1) entered disabled state", None, False),
        ("[ 10.3] cxgb4: Unable to instantiate 4 VFs", "ice", False),
        ("ice 0000:08:00.0: Failed to enable SR-IOV: -28", "ice", False),
        (
            f"[ 10.3] ice 1{PF}: Failed to enable SR-IOV: -28",
            "ice",
            False,
        ),  # a domain of more than four digits
        ("[ 10.3][   T12] cxgb4: Unable to instantiate 4 VFs", "cxgb4", True),  # CONFIG_PRINTK_CALLER
        ("[ 10.3][ C1] cxgb4: Unable to instantiate 4 VFs", "cxgb4", True),
    ],
)
def test_lines_that_name_the_interface_or_only_the_driver(
    line: str, driver: Optional[str], expected: bool
) -> None:
    assert kernel_refusal.is_of(line, PF, ["eth1"], driver) == expected


def test_a_driver_that_is_busy_is_asked_again(fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """i40e while it resets: EAGAIN, also at boot."""
    add_pf(fs, PF, "8086:1572", "i40e", 0)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    host = AnsweringHost({"kernel log": ""})
    asked: List[str] = []

    def busy_twice(path: str, text: str, _seconds: float) -> None:
        asked.append(text)
        if len(asked) < 3:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(host, "write_attribute_within", busy_twice)
    with pytest.raises(SriovError, match="Input/output error"):
        create.make(host, PF, 4)
    assert asked == ["4", "4", "4"]


def test_an_error_number_of_the_kernels_own(
    tmp_path: "os.PathLike[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """cxgb4 answers 524 where the slot has no ARI; cut to an exit status it would be ENOMEM."""
    host = host_module.Host(str(tmp_path))

    def refuse(path: str, _text: str) -> None:
        raise OSError(524, "Unknown error 524", path)

    monkeypatch.setattr(host, "write_attribute", refuse)
    with pytest.raises(OSError, match="sriov_numvfs") as refused:
        host.write_attribute_within("/sriov_numvfs", "4", 5)
    assert refused.value.errno == errno.EOPNOTSUPP


# -- pciback -------------------------------------------------------------------------------------

PARSE_ERROR = '[    0.5] xen-pciback: Error parsing pci_devs_to_hide at "(7.1)"\n'


def test_pciback_that_could_not_read_its_list(fs: FakeFilesystem) -> None:
    fs.create_dir("/proc")
    problem = pciback.problem(AnsweringHost({"kernel log": PARSE_ERROR}))
    assert problem.code == "NO_PCIBACK"
    assert "`(7.1)`" in problem.message
    assert "xen-pciback.hide" in problem.hint
    with pytest.raises(SriovError) as refused:
        pciback.load(AnsweringHost({"kernel log": PARSE_ERROR}))
    assert refused.value.code == "SRIOV_PCIBACK_UNAVAILABLE"
    assert "(7.1)" in refused.value.message


@pytest.mark.parametrize(
    ("hide", "wrong"),
    [
        ("(0000:07:00.1)(7.1)", "(7.1)"),
        ("(0000:07:00.1),(0000:08:00.0)", ",(0000:08:00.0)"),
        ("0000:07:00.1", "0000:07:00.1"),
        ("(0000:07:00.1)(08:00.*)(0000:09:*.*)", None),
        ("", None),
    ],
)
def test_when_the_log_is_gone_the_command_line_tells(
    fs: FakeFilesystem, hide: str, wrong: Optional[str]
) -> None:
    fs.create_file("/proc/cmdline", contents=f"root=LABEL=x xen-pciback.hide={hide} ro\n")
    problem = pciback.problem(AnsweringHost())
    assert (problem == pciback.NOT_THERE) == (wrong is None)
    assert wrong is None or f"`{wrong}`" in problem.message


def test_the_log_of_this_machine_is_what_dmesg_prints() -> None:
    try:
        ours = [kernel_log.without_time(line) for line in kernel_log.lines(Host())]
        dmesg = Host().run(["dmesg"])
    except OSError:
        ours = []
    if not ours or dmesg.status:
        pytest.skip("who runs this may not read it")
    theirs = [kernel_log.without_time(line) for line in dmesg.stdout.splitlines()]
    assert [line for line in ours[:20] if "\\" not in line] == [
        line for line in theirs[:20] if "\\" not in line
    ]
