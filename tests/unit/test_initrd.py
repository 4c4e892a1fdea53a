"""The initrd that a driver is loaded from: whether it has the options of the host is looked at, and said."""

import os
from pathlib import Path

import pytest
from igb_hosts import (
    COMMENTS,
    CONF,
    IMAGE,
    count,
    drift,
    igb_host,
    present,
)
from one_host import answering, call
from small_pool import SmallPool


def test_an_image_that_lacks_the_file_is_told(tmp_path: Path, pool: SmallPool) -> None:
    """dracut takes /etc/modprobe.d in host-only mode only; the driver then has no VFs after the reboot."""
    host = igb_host(tmp_path, "", dracut_hostonly=False)
    for _ in range(2):  # calling again makes the image again, and looks again
        (warning,) = count(host, pool, "eth3", 2)["warnings"]
        assert f"{IMAGE} has the driver igb and not {CONF}" in warning
        assert f'install_items+=" {CONF} "' in warning
    host.reboot()
    assert present(host) == [0, 0, 0, 0]
    assert "install_items" in drift(host, pool)["hint"]
    assert call(host, pool, "status")["reboot_required"] is False


def test_an_image_without_the_driver_needs_no_file(tmp_path: Path, pool: SmallPool) -> None:
    host = igb_host(tmp_path, "", dracut_hostonly=False, initrd_drivers=False)
    assert count(host, pool, "eth3", 2)["warnings"] == []
    host.reboot()
    assert present(host) == [0, 0, 0, 2]


def test_an_image_that_is_older_than_the_file_is_made_again(tmp_path: Path, pool: SmallPool) -> None:
    """Somebody wrote the option by hand, and no image."""
    host = igb_host(tmp_path, "")
    host.replace_file(CONF, (COMMENTS + "options igb max_vfs=0,0,0,2\n").encode())
    assert count(host, pool, "eth3", 2)["warnings"] == []
    host.reboot()
    assert present(host) == [0, 0, 0, 2]


@pytest.mark.parametrize("lsinitrd", ["missing", "fails", "sees nothing"])
def test_an_image_that_nobody_can_look_into_is_not_known(
    tmp_path: Path, pool: SmallPool, lsinitrd: str
) -> None:
    host = igb_host(tmp_path, "")
    if lsinitrd == "missing":
        os.unlink(host.path("/usr/bin/lsinitrd"))
    else:  # without skipcpio it shows the microcode in front of the image, and exits 0
        status = 1 if lsinitrd == "fails" else 0
        host = answering(host, "lsinitrd", status=status, stdout="Early CPIO image\n")
    (warning,) = count(host, pool, "eth3", 2)["warnings"]
    assert f"{IMAGE} could not be read" in warning
    assert CONF in warning
    assert drift(host, pool)["hint"].startswith("Reboot the host")
