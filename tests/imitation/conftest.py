"""What tests of the imitation share."""

import sys
from contextlib import contextmanager
from typing import Iterator

import pytest
from box import PoolInABox
from machine_description import default_description


@pytest.fixture
def box() -> Iterator[PoolInABox]:
    """Two hosts, whose programs run on the Python at hand."""
    with PoolInABox(interpreter=sys.executable) as box:
        yield box


@pytest.fixture
def iommu_box() -> Iterator[PoolInABox]:
    """Two hosts whose Xen uses the IOMMU, with VFs on pciback."""
    with _with_vfs(2) as box:
        yield box


@pytest.fixture
def lone_iommu_box() -> Iterator[PoolInABox]:
    """The same of one host."""
    with _with_vfs(1) as box:
        yield box


@contextmanager
def _with_vfs(count: int) -> Iterator[PoolInABox]:
    hosts = [default_description(number, xen_options="iommu=1") for number in range(1, count + 1)]
    with PoolInABox(hosts, interpreter=sys.executable) as box:
        for host in box.hosts:
            box.call(host, "load_pciback")
            box.call(host, "set_vf_count", pf="0000:07:00.0", count="3")
        yield box
