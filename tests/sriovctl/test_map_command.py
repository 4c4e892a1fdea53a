"""`sriovctl map` on a pool: where the picture goes, and what it says of hosts that do not answer."""

import os
import resource
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Callable

import pytest
from managed_pool import Pool
from sriovctl import files
from sriovctl.errors import Failed

pytestmark = pytest.mark.story

Ctl = Callable[..., Any]


def test_picture_in_the_terminal(pool: Pool, ctl: Ctl) -> None:
    pool.assign(pool.vm("web"), network="xenbr1", on=pool.one)
    said = ctl("map", "host1")
    assert (said.status, said.err) == (0, "")
    assert said.out == (
        "Pool host1\n"
        "1 host, 3 ports, 4 VFs, 1 VM\n"
        "U in use 0  A assigned 1  D dom0 0  R reserved 0  . free 3  ? unknown 0\n"
        "\n"
        "host1  master\n"
        "  NUMA node 0\n"
        "    eth0  no VFs, 7 possible; 1 Gbit/s, management\n"
        "    eth1  4 VFs: 1 assigned, 3 free; 10 Gbit/s\n"
        "      0 A...\n"
        "    eth2  no VFs, 63 possible; 10 Gbit/s\n"
        "  VMs\n"
        "    web  halted  eth1:0\n"
    )


def test_running_vm_and_a_host_that_is_lost(pool: Pool, ctl: Ctl) -> None:
    """The picture says why there is nothing of it, and which VMs have VFs there."""
    web, db = pool.vm("web"), pool.vm("db")
    pool.assign(web, network="xenbr1", on=pool.one)
    pool.assign(db, network="xenbr1", on=pool.other)
    pool.start(web, pool.one)
    pool.box.lose(pool.other)
    said = ctl("map")
    assert (said.status, said.err) == (4, "")
    assert "\n      0 U...\n" in said.out
    assert "    web  running  eth1:0\n" in said.out
    there = said.out[said.out.index("\nhost2") :]
    assert "  Host host2 is offline.\n" in there
    assert "    db  halted  0000:07:10.2\n" in there


def test_html_and_svg_by_the_files_suffix(pool: Pool, ctl: Ctl, tmp_path: Path) -> None:
    page, drawing = tmp_path / "pool.html", tmp_path / "pool.SVG"
    said = ctl("map", "--output", str(page))
    assert (said.status, said.out, said.err) == (0, "", f"{page}: 2 hosts, 6 ports, 8 VFs, 0 VMs\n")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    pool.box.lose(pool.other)
    said = ctl("map", "-o", str(drawing))
    assert (said.status, said.out) == (4, "")
    assert said.err.count("Host host2 is offline.") == 1
    assert "Host host2 is offline." in "".join(ElementTree.parse(str(drawing)).getroot().itertext())
    left = {*os.listdir(str(tmp_path))} - {"cache"}  # of names, for completion
    assert left == {"pool.SVG", "pool.html"}


def test_in_dom0(pool: Pool, ctl: Ctl, ctl_of: Ctl, tmp_path: Path) -> None:
    assert ctl_of(pool.other, "map") == ctl("map")
    assert ctl_of(pool.other, "map", "-o", str(tmp_path / "pool.html")).status == 0


def test_model_and_its_table(pool: Pool, ctl: Ctl) -> None:
    pool.assign(pool.vm("web"), network="xenbr1", on=pool.one)
    first = ctl("map", "-o", "json").json[0]
    assert (first["host"], first["vms"][0]["vfs"]) == ("host1", ["eth1:0"])
    assert ctl("map", "-o", "csv").out.splitlines() == [
        "NAME,NODES,PORTS,IN-USE,ASSIGNED,DOM0,RESERVED,FREE,UNKNOWN,VMS",
        "host1,1,3,0,1,0,0,3,0,1",
        "host2,1,3,0,0,0,0,4,0,0",
    ]


def test_other_suffixes_are_not_understood(ctl: Ctl) -> None:
    said = ctl("map", "-o", "pool.png")
    assert said.status == 2
    assert "`pool.png` is neither a file that ends with .html or .svg nor one of wide, json" in said.err


# -- the whole file or none ----------------------------------------------------------------------------------


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot be written: No such file or directory") as failed:
        files.write_output(str(tmp_path / "none" / "pool.html"), "new")
    assert failed.value.hint == "Name another file, or make its folder."


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the kernel ends the write half-way."""
    path = tmp_path / "pool.html"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(Failed, match="cannot be written: File too large"):
            files.write_output(str(path), "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert os.listdir(str(tmp_path)) == ["pool.html"]


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    """A pipe stands in for /dev/null, to which somebody's link may lead."""
    pipe, link = tmp_path / "pipe", tmp_path / "pool.html"
    os.mkfifo(str(pipe))
    link.symlink_to(pipe)
    for path in (pipe, link, tmp_path):
        with pytest.raises(Failed, match="is not a file"):
            files.write_output(str(path), "new")
    assert pipe.is_fifo()


def test_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "shown.html", tmp_path / "pool.html"
    path.write_text("old")
    link.symlink_to(path)
    files.write_output(str(link), "new")
    assert (link.is_symlink(), path.read_text()) == (True, "new")


def test_file_keeps_its_mode(tmp_path: Path) -> None:
    """That node_exporter may read it, say, where root's umask is 077."""
    path = tmp_path / "pool.prom"
    umask = os.umask(0o077)
    try:
        files.write_output(str(path), "old")
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        files.write_output(str(path), "new")
    finally:
        os.umask(umask)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o644)
