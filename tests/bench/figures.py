"""The figures: what is measured, beside what, at which sizes, and what they are to be."""

from functools import partial
from typing import Callable, ContextManager, Dict, NamedTuple, Optional, Sequence, Tuple

from bench import metrics, stories, works
from bench.measure import Case, Effort, Sample
from bench.measured_host import MeasuredHost, Size
from machine_description import Description

FLOOR, OTHER, PEAK, READ = "floor", "other", "peak_mib", "read_mb"  # what a target is of: fields of a Result

Work = Callable[[MeasuredHost], Sample]
Alone = Callable[[Size], ContextManager[Dict[str, Case]]]


class Target(NamedTuple):
    size: Size
    of: str
    at_most: float


class Figure(NamedTuple):
    """One kind of number, and how it grows with `by`. `work` is measured beside `floor`, and beside itself in
    another tree. `prepare` is called once before, and `warm`, else the work, by each Python."""

    name: str
    by: Sequence[str]  # the nouns of a Size
    work: Work
    beside: str  # what the floor is, in words
    floor: Optional[Work]
    sizes: Sequence[Size]
    targets: Sequence[Target] = ()
    prepare: Callable[[MeasuredHost], None] = works.nothing_to_prepare
    warm: Optional[Work] = None
    guests: bool = False  # whether VFs of the host are in running guests from the start
    live: bool = False  # whether other hosts' plugins run each time they are asked, as in a pool
    alone: Optional[Alone] = (
        None  # in its place: cases that need no measured host, on the Python that runs us
    )
    effort: Effort = Effort()

    @property
    def with_targets(self) -> Sequence[Size]:
        return [size for size in self.sizes if any(target.size == size for target in self.targets)]


VFS = [Size(vfs=vfs) for vfs in (0, 126, 1024)]
VMS = [Size(vms=vms) for vms in (0, 200, 2000)]
POOLS = [Size(64), Size(64, vms=200), Size(1, vms=2000), Size(8, vms=2000), Size(64, vms=2000)]
LARGE = POOLS[-1]
OF_HOST, OF_VMS, OF_POOL, OF_HOSTS = ("VF",), ("VM",), ("host", "VM"), ("host",)
A_PLUGIN = "a plugin that does nothing"
A_LOGIN = "a Python that logs in to xapi and out"
A_PYTHON = "a Python that does nothing"


def _restore(name: str, prepare: Callable[[MeasuredHost], None], at_most: float) -> Figure:
    targets = [Target(VFS[1], OTHER, at_most)]
    return Figure(
        f"sriov-restore, {name}", OF_HOST, works.restore, A_PYTHON, works.python, VFS, targets, prepare
    )


def _restart(name: str, second: Callable[[int], Description]) -> Figure:
    return Figure(
        f"HA restarts VMs: {name}",
        OF_VMS,
        works.nothing,
        "VMs without VFs",
        None,
        [Size(2, vms=vms) for vms in (1, 20)],
        alone=partial(stories.restart, second),
        effort=Effort(fewest=3, most=3),
    )


FIGURES: Tuple[Figure, ...] = (
    Figure(
        "inventory",
        OF_HOST,
        works.inventory,
        A_PLUGIN,
        works.nothing,
        VFS,
        [Target(VFS[1], FLOOR, 0.8), Target(VFS[2], FLOOR, 1.3)],
        works.prepare_guests,
        guests=True,
    ),
    Figure(
        "list_vfs",
        OF_VMS,
        works.list_vfs,
        A_PLUGIN,
        works.nothing,
        VMS,
        [Target(VMS[1], FLOOR, 1.1), Target(VMS[2], FLOOR, 1.3), Target(VMS[2], PEAK, 25)],
        works.prepare_guests,
        guests=True,
    ),
    Figure(
        "assign_vf",
        OF_POOL,
        works.assign,
        A_PLUGIN,
        works.nothing,
        POOLS,
        [Target(LARGE, READ, 0.5), Target(LARGE, OTHER, 0.25)],
        works.prepare_leases,
    ),
    Figure(
        "list_assignments",
        OF_POOL,
        works.list_assignments,
        A_PLUGIN,
        works.nothing,
        POOLS,
        [Target(LARGE, OTHER, 0.25)],
        works.prepare_leases,
    ),
    Figure(
        "list_assignments, after a change",
        OF_POOL,
        works.list_after_change,
        A_PLUGIN,
        works.nothing,
        [LARGE],
        prepare=works.prepare_leases,
    ),
    Figure(
        "each of 50 assign_vf, one after the other",
        OF_POOL,
        works.assign_more,
        "",
        None,
        [LARGE],
        [Target(LARGE, OTHER, 0.15)],
        works.prepare_leases,
        works.assign,
        effort=Effort(fewest=50, most=50, at_most=120),
    ),
    Figure(
        "vm-pre-start, no entries",
        OF_VMS,
        works.start_without,
        A_LOGIN,
        works.log_in,
        VMS,
        [Target(VMS[1], FLOOR, 1.0)],
        works.prepare_start,
    ),
    Figure(
        "vm-pre-start, one VF",
        OF_POOL,
        works.start_with_vf,
        A_LOGIN,
        works.log_in,
        [Size(64), Size(64, vms=200), LARGE],
        [Target(LARGE, OTHER, 0.4)],
        works.prepare_start_with_vf,
    ),
    _restore("nothing to do", works.prepare_restored, 0.6),
    _restore("everything to set", works.prepare_restore, 0.75),
    Figure(
        "inventories of all hosts",
        OF_HOSTS,
        works.survey,
        "what the processors allow: the same calls, whose answers are only taken",
        works.survey_bare,
        [Size(1), Size(8), Size(64)],
        [Target(Size(64), FLOOR, 1.05)],
        live=True,
        effort=Effort(fewest=5, most=9),
    ),
    _restart("addresses that fit", stories.alike),
    _restart("addresses that do not", stories.other_slot),
    Figure(
        "sriov-metrics",
        OF_HOST,
        works.nothing,
        "a core",
        None,
        VFS[1:],
        [Target(VFS[1], FLOOR, 0.005)],
        alone=metrics.periods,
    ),
    Figure("sriovctl --help", (), works.client_help, A_PYTHON, works.python, [Size()]),
    Figure(
        "sriovctl status",
        OF_HOSTS,
        works.nothing,
        "the second that each host takes",
        None,
        [Size(1), Size(8), Size(64)],
        [Target(Size(64), FLOOR, 1.5)],
        alone=stories.status,
    ),
)


def short(figure: Figure) -> Figure:
    """The same with small sizes, once: it shows that the figure gives a number, and measures nothing."""
    wanted = {*figure.sizes[:1], *figure.with_targets}
    small = {size: _small(size) for size in figure.sizes if size in wanted}
    targets = [target._replace(size=small[target.size]) for target in figure.targets]
    effort = Effort(fewest=1, most=1, seconds=0)
    return figure._replace(sizes=list(dict.fromkeys(small.values())), targets=targets, effort=effort)


def _small(size: Size) -> Size:
    return Size(min(size.hosts, 4), min(size.vfs, 126), min(size.vms, 20))
