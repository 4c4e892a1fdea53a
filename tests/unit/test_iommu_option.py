"""What `iommu=` on Xen's command line says, and what turning it on makes of it."""

from typing import List

import pytest
from sriovlib.boot import iommu_option


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ([], "default"),
        (["iommu=1"], "on"),
        (["iommu=enable"], "on"),
        (["iommu=0"], "off"),
        (["iommu=verbose,no"], "off"),
        (["iommu=off,yes"], "on"),  # the last boolean counts
        (["iommu=1", "iommu=0"], "off"),  # and the last option
        (["iommu=0", "iommu=verbose"], "off"),
        (["no-iommu"], "off"),
        (["iommu=1", "no-iommu=yes"], "on"),  # Xen refuses a value there
        (["iommu=verbose"], "default"),
        (["iommu=dom0-strict,no-intremap"], "default"),  # a negative sub-option is not the boolean
        (["iommu=force"], "on"),  # it demands one
        (["iommu=required,0"], "off"),
        (["dom0_mem=1024M", "iommu_inclusive_mapping=1"], "default"),  # another option altogether
    ],
)
def test_iommu_option_meaning(options: List[str], setting: str) -> None:
    assert iommu_option.setting(options) == setting


@pytest.mark.parametrize(
    ("options", "turned_on"),
    [
        ([], "iommu=1"),
        (["iommu=0"], "iommu=1"),
        (["iommu=off,verbose"], "iommu=1,verbose"),
        (["iommu=verbose,no,dom0-strict"], "iommu=verbose,1,dom0-strict"),
        (["iommu=verbose"], "iommu=1,verbose"),
        (["iommu=1,no-intremap,off"], "iommu=no-intremap,1"),
        (["iommu=0", "iommu=verbose"], "iommu=1,verbose"),
        (["no-iommu"], "iommu=1"),
        (["iommu="], "iommu=1"),
    ],
)
def test_turning_on_keeps_every_sub_option(options: List[str], turned_on: str) -> None:
    assert iommu_option.turned_on(options) == turned_on
    assert iommu_option.setting([turned_on]) == "on"


def test_only_the_iommu_options_of_a_command_line_are_taken() -> None:
    options = "dom0_mem=752M iommu=0 no-iommu iommux=1 watchdog".split()
    assert iommu_option.iommu_options(options) == ["iommu=0", "no-iommu"]
