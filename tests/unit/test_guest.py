"""What a guest needs to use its VFs."""

import pytest
from sriovlib.pool import guest


@pytest.mark.parametrize(
    ("device", "linux", "windows"),
    [
        ("8086:10ca", "igbvf", "Intel"),
        ("8086:1520", "igbvf", "Intel"),
        ("8086:10ed", "ixgbevf", "Intel"),
        ("8086:1515", "ixgbevf", "Intel"),
        ("8086:154c", "iavf", "Intel"),
        ("8086:1889", "iavf", "Intel"),
        ("15b3:1004", "mlx4_core, mlx4_en", "WinOF"),
        ("15b3:101e", "mlx5_core", "WinOF-2"),
        ("14e4:16dc", "bnxt_en", "Broadcom"),
        ("14e4:166f", "bnx2x", "Broadcom"),
        ("1077:1664", "qede", "Marvell"),
        ("1425:5801", "cxgb4vf", "Chelsio"),
        ("1d0f:ec20", "ena", "Amazon"),
        ("19ee:6003", "nfp", None),
        ("8086:10fb", None, None),  # a PF
        ("144d:a824", None, None),  # not known
        ("", None, None),
    ],
)
def test_driver_of_a_vf(device: str, linux: str, windows: str) -> None:
    found = guest.drivers(device)
    assert found.linux == linux
    assert windows is None or windows in str(found.windows)
    assert (found.windows is None) == (windows is None)


def test_cloud_init_matches_vfs_by_mac() -> None:
    """A VF without a MAC (NVMe, QAT) is no network interface."""
    text = guest.cloud_init(["b2:00:00:00:00:01", None, "b2:00:00:00:00:03"])
    assert text == (
        "version: 2\nethernets:\n"
        '  vf1:\n    match:\n      macaddress: "b2:00:00:00:00:01"\n    dhcp4: true\n'
        '  vf3:\n    match:\n      macaddress: "b2:00:00:00:00:03"\n    dhcp4: true\n'
    )
    assert guest.cloud_init([None]) == ""
