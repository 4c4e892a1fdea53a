"""Pools to which anything happens, at random: what is returned of their records is what xapi has now."""

import os
from contextlib import ExitStack
from typing import Callable, Dict, List, Optional, Tuple

import generations
import kept_files
import mastership
import pytest
import temporary
from asked_pool import FIRST, PARTS, SECOND, Pool
from hypothesis import given, settings
from hypothesis import strategies as st
from sriovlib.machine.host import RUN_FOLDER
from sriovlib.pool.records import VMS, Records
from sriovlib.xapi.session import XapiFailure


class Story:
    """A pool, whatever becomes of it, of its xapi and of what is kept on its hosts. xapi remembers few of the
    objects that were destroyed."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.flushed = pool.database.flushed()
        self.old: Dict[str, bytes] = {}  # the files of before, by path
        self.process: Optional[Records] = None  # that goes on

    def _vm(self, number: int) -> Optional[str]:
        vms = self.pool.database.refs("VM")
        return vms[number % len(vms)] if vms else None

    def _files(self, number: int) -> List[str]:
        names = [f"{RUN_FOLDER}/xapi-{part.name}" for part in PARTS]
        return [path for path in map(self.pool.hosts[number % 2].path, names) if os.path.exists(path)]

    # the pool

    def make_vm(self, number: int) -> None:
        kind = ("is_a_template", "is_a_snapshot", "is_control_domain", *[""] * 5)[number]
        other_config = {"pci": "0/0000:07:10.0", "mac_seed": "x"} if number % 2 else {}
        self.pool.vm(other_config=other_config, **({kind: True} if kind else {}))

    def change_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            state = "Halted" if self.pool.database.get("VM", vm, "power_state") == "Running" else "Running"
            self.pool.database.set("VM", vm, "power_state", state)

    def make_template(self, number: int) -> None:
        """Or a VM again."""
        vm = self._vm(number)
        if vm:
            is_one = self.pool.database.get("VM", vm, "is_a_template")
            self.pool.database.set("VM", vm, "is_a_template", not is_one)

    def destroy_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            self.pool.database.destroy("VM", vm)

    def replace_vms(self, number: int) -> None:
        """As many are there as before."""
        vms = self.pool.database.refs("VM")[number:]
        for vm in vms:
            self.pool.database.destroy("VM", vm)
        for _ in vms:
            self.pool.database.destroy("VM", self.pool.vm())
            self.pool.vm()

    def write_ledger(self, number: int) -> None:
        key = f"sriov-vm-00000000-0000-4000-8000-00000000000{number}.1"
        pool = ("pool", self.pool.xapi.pool, "other_config")
        there = key in self.pool.database.get(*pool)
        self.pool.database.remove_from(*pool, key)
        if not there:
            self.pool.database.add_to(*pool, key, "{}")

    def change_host(self, number: int) -> None:
        host = self.pool.refs[number % 2]
        metrics = self.pool.database.get("host", host, "metrics")
        live = self.pool.database.get("host_metrics", metrics, "live")
        self.pool.database.set("host_metrics", metrics, "live", not live)
        self.pool.database.set("host", host, "enabled", bool(number % 3))

    def change_pifs(self, number: int) -> None:
        network = self.pool.database.create("network", {"name_label": f"net{number}"})
        values = {"device": f"eth{number}", "network": network, "host": self.pool.refs[number % 2]}
        pif = self.pool.database.create("PIF", values)
        if number > 3:
            self.pool.database.destroy("PIF", pif)

    # xapi

    def flush(self, _number: int) -> None:
        self.flushed = self.pool.database.flushed()

    def restart(self, number: int) -> None:
        mastership.forget_callers(self.pool.xapi)
        self.flush(number)

    def kill(self, _number: int) -> None:
        """What was not on disk is lost, and counted again."""
        self.pool.database.go_back_to(self.flushed)
        mastership.forget_callers(self.pool.xapi)

    def fail_over(self, number: int) -> None:
        """To the other host, with the database or an older copy of it."""
        master = self.pool.xapi.master
        if number % 2:
            self.pool.database.go_back_to(self.flushed)
        mastership.make_master(self.pool.xapi, next(ref for ref in self.pool.refs if ref != master))
        self.flush(number)

    # files

    def remember_files(self, number: int) -> None:
        self.old.update(kept_files.contents(self._files(number)))

    def write_late(self, number: int) -> None:
        """A process that was told long ago replaces the files now."""
        for path in self._files(number):
            if path in self.old:
                with open(path, "wb") as file:
                    file.write(self.old[path])

    def tear_files(self, number: int) -> None:
        kept_files.tear(self._files(number), number)

    def exchange_files(self, number: int) -> None:
        kept_files.exchange(self._files(number))

    def kill_writer(self, number: int) -> None:
        """As it wrote: the files of before, and half of new ones beside them."""
        for path in self._files(number):
            folder, name = os.path.split(path)
            with open(f"{folder}/.{name}.sriov-new", "w") as file:
                file.write("{")

    # who asks

    def ask(self, number: int) -> None:
        asked = self.pool.records(number % 2)
        for part in PARTS:
            assert asked.of(part) == self.pool.truth(part), part.name

    def ask_while_a_vm_goes(self, number: int) -> None:
        """It may be there as it was told before: it was there just now. Or, where it was new, another one
        whose end xapi does not tell any more: there are as many as xapi counts, until the next question."""
        vm = self._vm(number)
        found = self.pool.records(number % 2, vm).of(VMS)["vm"]
        truth = self.pool.truth(VMS)["vm"]
        assert {ref: one for ref, one in found.items() if ref in truth} == truth
        assert len(found) <= len(truth) + 1

    def begin(self, number: int) -> None:
        self.process = self.pool.records(number % 2)
        self.process.of(VMS)

    def go_on(self, _number: int) -> None:
        """In the session of before, if xapi is the one of before."""
        if self.process is None:
            return
        try:
            for part in PARTS:
                assert self.process.of(part) == self.pool.truth(part), part.name
        except XapiFailure as failure:
            if failure.details[0] != "SESSION_INVALID":
                raise
            self.process = None


Step = Callable[[Story, int], None]
WRITES: Tuple[Step, ...] = (
    *(Story.make_vm, Story.change_vm, Story.make_template, Story.destroy_vm, Story.replace_vms),
    *(Story.write_ledger, Story.change_host, Story.change_pifs),
)
OTHERS: Tuple[Step, ...] = (
    *(Story.flush, Story.restart, Story.kill, Story.fail_over),
    *(Story.remember_files, Story.write_late, Story.tear_files, Story.kill_writer),
    Story.exchange_files,
)
ASKS: Tuple[Step, ...] = (Story.ask, Story.ask, Story.ask_while_a_vm_goes, Story.begin, Story.go_on)
STEPS = st.one_of(*map(st.sampled_from, (WRITES, WRITES, OTHERS, ASKS)))


@settings(max_examples=200)
@given(st.lists(st.tuples(STEPS, st.integers(min_value=0, max_value=7)), min_size=4, max_size=60))
def test_any_story(steps: List[Tuple[Step, int]]) -> None:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(generations, "MOST_DESTROYED", 5)
        patch.setattr(generations, "LEFT", 2)
        story = Story(Pool(stack.enter_context(temporary.folder())))
        stack.enter_context(story.pool.xapi)
        for number in range(4):
            story.make_vm(number * 2 + 1)
        for step, number in [*steps, (Story.ask, FIRST), (Story.ask, SECOND)]:
            step(story, number)
