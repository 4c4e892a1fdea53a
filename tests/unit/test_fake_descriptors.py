"""What a test does in a tree of pyfakefs is done to nothing real."""

import os
import stat
from pathlib import Path

from pyfakefs.fake_filesystem_unittest import Patcher
from sriovlib.machine.host import Host


def test_a_lock_in_a_fake_tree_leaves_real_files_alone(tmp_path: Path) -> None:
    """Its descriptor has a number that a real one has too."""
    real = tmp_path / "real"
    real.write_bytes(b"as it was")
    real.chmod(0o644)
    descriptors = [os.open(real, os.O_RDWR) for _ in range(32)]
    try:
        with Patcher():
            host = Host()
            with host.lock("vfs", "a test"):
                assert stat.S_IMODE(os.stat("/run/sriov/vfs.lock").st_mode) == 0o600
            host.make_folder("/etc")
            assert not host.debug  # looked for first: os.open of pyfakefs changes the mode of a file
            host.replace_file("/etc/sriov.conf", b"[pf 0000:07:00.0]\n", 0o640)
            assert stat.S_IMODE(os.stat("/etc/sriov.conf").st_mode) == 0o640
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert (real.read_bytes(), stat.S_IMODE(real.stat().st_mode)) == (b"as it was", 0o644)
