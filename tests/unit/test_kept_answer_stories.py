"""Pools to which anything happens, at random: the answer of `list_assignments` is what it would be if nothing
was kept."""

import os
import time
from contextlib import ExitStack
from typing import Callable, Dict, List, Optional, Tuple

import generations
import kept_files
import mastership
import pytest
import temporary
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_pool import HOSTS, VF, ListedPool, lease, of_pool
from sriovlib import digest
from sriovlib.machine.host import RUN_FOLDER
from sriovlib.pool import inventories


class Story:
    """A pool, whatever becomes of it, of its xapi and of what is kept on its hosts."""

    def __init__(self, pool: ListedPool, patch: pytest.MonkeyPatch) -> None:
        self.pool = pool
        self.patch = patch
        self.flushed = pool.database.flushed()
        self.old: Dict[str, bytes] = {}  # the files of before, by path
        self.now = time.time()

    def _vm(self, number: int) -> Optional[str]:
        vms = self.pool.database.refs("VM")
        return vms[number % len(vms)] if vms else None

    def _files(self, number: int) -> List[str]:
        folder = self.pool.by_xapi.hosts[number % HOSTS].path(RUN_FOLDER)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return [f"{folder}/{name}" for name in names if not name.endswith(".lock")]

    # VMs

    def make_vm(self, number: int) -> None:
        other_config = {"pci": f"0/{VF.format(number)}"} if number % 2 else {}
        self.pool.by_xapi.vm(other_config=other_config, is_a_template=number == 7)

    def change_vm(self, number: int) -> None:
        vm, database = self._vm(number), self.pool.database
        if vm:
            running = database.get("VM", vm, "power_state") == "Running"
            database.set("VM", vm, "power_state", "Halted" if running else "Running")
            host = self.pool.by_xapi.refs[number % HOSTS]
            database.set("VM", vm, "resident_on", "OpaqueRef:NULL" if running else host)

    def name_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            self.pool.database.set("VM", vm, "name_label", "ab"[number % 2])

    def destroy_vm(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            self.pool.database.destroy("VM", vm)

    def lease(self, number: int) -> None:
        vm = self._vm(number)
        if vm:
            lease(self.pool, vm, number % 5, number % HOSTS)

    def write_entries(self, number: int) -> None:
        """By hand; what was there goes."""
        vm = self._vm(number)
        if vm:
            entries = {"pci": f"0/{VF.format(number % 4)},1/rubbish"} if number % 3 else {}
            self.pool.database.set("VM", vm, "other_config", entries)

    def write_key(self, number: int) -> None:
        name = f"sriov-vm-00000000-0000-4000-8000-00000000000{number}.1"
        there = name in self.pool.database.get(*of_pool(self.pool))
        self.pool.database.remove_from(*of_pool(self.pool), name)
        if not there:
            self.pool.database.add_to(*of_pool(self.pool), name, "{}")

    # hosts

    def change_host(self, number: int) -> None:
        """It is lost, or back; by xapi's word."""
        database, host = self.pool.database, self.pool.by_xapi.refs[number % HOSTS]
        metrics = database.get("host", host, "metrics")
        database.set("host_metrics", metrics, "live", not database.get("host_metrics", metrics, "live"))

    def silence(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].silent ^= True

    def change_link(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].link_up ^= True

    def change_owner(self, number: int) -> None:
        owners = self.pool.hosts[number % HOSTS].owners
        if owners.pop(number % 3, None) is None:
            owners[number % 3] = ["", "a VM", "another VM"][number % 3]

    def change_vfs(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].vfs = 3 + number % 3

    def change_gpu(self, number: int) -> None:
        self.pool.hosts[number % HOSTS].is_gpu ^= True

    def change_nodes(self, number: int) -> None:
        host = self.pool.hosts[number % HOSTS]
        host.cpu_nodes = {0: 0, 1: 1} if number % 3 else {0: 0, 1: None}
        software = {"xapi_build": "26.2.0"} if number < 4 else {}
        self.pool.database.set("host", self.pool.by_xapi.refs[number % HOSTS], "software_version", software)

    def install(self, number: int) -> None:
        """On a host."""
        host = self.pool.hosts[number % HOSTS]
        host.package = number // 2
        host.version = "0.1.0" if number % 3 else "0.2.0"

    def install_here(self, number: int) -> None:
        version = ("0.1.0", "0.2.0")[number % 2]
        for module in (digest, inventories):
            self.patch.setattr(module, "VERSION", version)

    # xapi

    def restart(self, _number: int) -> None:
        mastership.forget_callers(self.pool.by_xapi.xapi)

    def flush(self, _number: int) -> None:
        self.flushed = self.pool.database.flushed()

    def kill(self, _number: int) -> None:
        """What was not on disk is lost, and counted again."""
        self.pool.database.go_back_to(self.flushed)
        mastership.forget_callers(self.pool.by_xapi.xapi)

    # files and time

    def remember_files(self, number: int) -> None:
        self.old.update(kept_files.contents(self._files(number)))

    def write_late(self, number: int) -> None:
        """A process that was told long ago replaces files now; some may be another host's."""
        for path, content in self.old.items():
            if number % 4:
                with open(path if number % 3 else path.replace("/0/", "/1/"), "wb") as file:
                    file.write(content)

    def tear_files(self, number: int) -> None:
        kept_files.tear(self._files(number), number)

    def exchange_files(self, number: int) -> None:
        kept_files.exchange(self._files(number))

    def lose_a_file(self, number: int) -> None:
        files = self._files(number)
        if files:
            os.unlink(files[number % len(files)])

    def wait(self, number: int) -> None:
        self.now += 10.0**number
        self.patch.setattr(time, "time", lambda: self.now)

    # who asks

    def ask(self, number: int) -> None:
        self.pool.checked(number % HOSTS)


Step = Callable[[Story, int], None]
VMS: Tuple[Step, ...] = (
    *(Story.make_vm, Story.change_vm, Story.name_vm, Story.destroy_vm, Story.lease, Story.lease),
    *(Story.write_entries, Story.write_key),
)
HOSTS_CHANGE: Tuple[Step, ...] = (
    *(Story.change_host, Story.silence, Story.change_link, Story.change_owner, Story.change_vfs),
    *(Story.change_gpu, Story.change_nodes, Story.install, Story.install_here),
)
OTHERS: Tuple[Step, ...] = (
    *(Story.restart, Story.flush, Story.kill, Story.remember_files, Story.write_late, Story.tear_files),
    *(Story.lose_a_file, Story.exchange_files, Story.wait),
)
ASKS: Tuple[Step, ...] = (Story.ask,)
STEPS = st.one_of(*map(st.sampled_from, (VMS, HOSTS_CHANGE, OTHERS, ASKS, ASKS)))


@settings(max_examples=150)
@given(st.lists(st.tuples(STEPS, st.integers(min_value=0, max_value=7)), min_size=4, max_size=40))
def test_any_story(steps: List[Tuple[Step, int]]) -> None:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(generations, "MOST_DESTROYED", 5)
        patch.setattr(generations, "LEFT", 2)
        pool = ListedPool(stack.enter_context(temporary.folder()), patch)
        stack.enter_context(pool.by_xapi.xapi)
        story = Story(pool, patch)
        for number in (1, 2):
            story.make_vm(number)
            story.lease(number)
        for step, number in [(Story.ask, 0), *steps, (Story.ask, 0), (Story.ask, 0), (Story.ask, 1)]:
            step(story, number)
