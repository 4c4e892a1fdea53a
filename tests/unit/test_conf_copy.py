"""The pool's copy of /etc/sriov.conf: a pool-operator can write it, and hosts read it as root."""

from contextlib import contextmanager
from typing import Iterator

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem
from small_pool import SmallPool
from sriovlib import safetext
from sriovlib.config import ini, sriov_conf
from sriovlib.errors import SriovError
from sriovlib.machine.host import Host
from sriovlib.pool import conf_copy

PF = "[pf 0000:07:00.0]\nvfs = 4\n"


@contextmanager
def answering(pool: SmallPool) -> Iterator[SmallPool]:
    yield pool


def test_a_copy_that_is_too_long_is_not_read_and_named(
    fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = SmallPool()
    pool.other_config["sriov-conf"] = PF + "#" * safetext.LONGEST
    monkeypatch.setattr(conf_copy, "logged_in", lambda _host: answering(pool))
    with pytest.raises(SriovError) as error:
        conf_copy.bring_back(Host())
    assert (error.value.code, "sriov-conf has 655" in error.value.message) == ("SRIOV_NOT_FOUND", True)
    assert not fs.exists(sriov_conf.PATH)


def test_a_file_that_is_too_long_to_be_read_back_is_not_copied(fs: FakeFilesystem) -> None:
    pool = SmallPool()
    fs.create_file(sriov_conf.PATH, contents=PF + "#" * safetext.LONGEST)
    assert "the pool has no copy" in str(conf_copy.store(Host(), pool))
    assert pool.other_config == {}


def test_a_file_with_a_byte_order_mark_is_copied_without_it(fs: FakeFilesystem) -> None:
    pool = SmallPool()
    fs.create_file(sriov_conf.PATH, contents="\ufeff" + PF)
    assert conf_copy.store(Host(), pool) is None
    assert pool.other_config == {"sriov-conf": PF}


def test_conf_copy_reports_each_line_brought_back(
    fs: FakeFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool-operator may have written it: whoever brings it back sees VLAN 999, and no forged line."""
    copy = sriov_conf.interpret(ini.parse(PF + "[vf 0000:07:00.0 1]\nvlan = 999\ntrust = on\n# \x1b[2J\n"))
    monkeypatch.setattr(conf_copy, "_of_this_host", lambda _host, _copies: copy)
    monkeypatch.setattr(conf_copy, "_copies", lambda _host: [copy])
    fs.create_dir("/run/sriov")
    fs.create_dir("/etc")
    assert conf_copy.bring_back(Host()).splitlines() == [
        "/etc/sriov.conf: 1 PF section brought back from the pool",
        "  [pf 0000:07:00.0] vfs = 4",
        "  [vf 0000:07:00.0 1] vlan = 999, trust = on",
    ]
