"""Plays what transcripts of VMs have beside calls: VMs that are given, hooks, starts, things observed.

The recorded hooks sleep for seconds, so that others meet them at work: here they wait at a gate, which opens
when whoever was to meet them has. A hook that would hang gives up sooner.
"""

import glob
import json
import os
import re
import shutil
import threading
import time
from typing import Any, Callable, Dict, List

from schema import CLASSES
from transcript_match import Mismatch
from transcript_player import SECONDS, NotPlayable, Player, Step
from values import Failure, take
from vm_operations import new_vm

HOOKS = "/etc/xapi.d/"
_LOG = "/var/log/"
_PATIENCE = "signal.setitimer(signal.ITIMER_REAL, 1.5)"  # of a hook that asks for what it cannot have
_SAME_FILE = re.compile(r"the same (?:file 50-recorder|recorder) is placed in(?: each of)?: (.*)")
_VM_HOOKS = (
    *(
        "vm-pre-start",
        "vm-pre-reboot",
        "vm-pre-shutdown",
        "vm-post-destroy",
        "vm-pre-suspend",
        "vm-pre-resume",
    ),
    *("vm-post-resume", "vm-pre-migrate", "vm-post-migrate", "vm-post-start", "vm-post-reboot"),
)
_RECORDER = """#!/usr/bin/python3
import json, sys
with open("/var/log/hooks.json", "a") as out:
    out.write(json.dumps({"argv": sys.argv}) + "\\n")
"""


class VmPlayer(Player):
    """As Player, and steps of VMs."""

    _recorder = _RECORDER

    def play(self, step: Step) -> None:
        if "pci" in step:
            self._start_with_list(step)
        elif "observe" in step:
            self._observe(step)
        elif "remove" in step:
            self._remove(step["remove"])
        elif "folder" in step:
            os.makedirs(self._moved(step["folder"]))
        elif set(step) == {"note"}:
            self._follow(step["note"])
        elif step.get("given") in ("host", "PCI"):
            self._given(step)
        elif step.get("given") == "VM.create":
            self._create_vm(step)
        else:
            self._play_in_time(step)

    def _play_in_time(self, step: Step) -> None:
        """Calls meet a hook at work where the recorded ones did."""
        if "begin" in step or step.get("call", "").startswith("Async.VM."):
            self._shut_gate()
        elif "end" in step or "wait" in step:
            self._open_gate()
        elif step.get("seconds", 0) >= 1 and self._begun:
            threading.Thread(target=self._open_gate_for_waiting, daemon=True).start()
        super().play(step)
        if "begin" in step and step["call"].startswith("VM."):
            self._until(lambda: self._under_way(step["params"][0]))

    def _until(self, happened: Callable[[], Any]) -> None:
        end = time.monotonic() + SECONDS
        while not happened():
            if time.monotonic() > end:
                raise Mismatch("it does not happen")
            time.sleep(0.01)

    def _under_way(self, symbol: str) -> bool:
        return bool(self.place.xapi.database.get("VM", self.symbols.known[symbol], "current_operations"))

    def _shut_gate(self) -> None:
        if os.path.exists(self._gate):
            os.unlink(self._gate)

    def _open_gate(self) -> None:
        os.makedirs(os.path.dirname(self._gate), exist_ok=True)
        open(self._gate, "w").close()

    def _open_gate_for_waiting(self) -> None:
        life = self.place.xapi.life
        with life.changed:
            life.changed.wait_for(lambda: life.waiting, SECONDS)
        self._open_gate()

    @property
    def _once(self) -> str:
        """What lets a hook do nothing at the start that it has asked for itself: in the recording it was
        gone by then, as xapi was slower."""
        return f"import os\nif os.path.exists({self._moved(_LOG + 'said')!r}): sys.exit(0)\nclass TooLong"

    @property
    def _gate(self) -> str:
        return os.path.join(os.path.dirname(self.place.socket), "gate")

    # -- objects -----------------------------------------------------------------------------------

    def _create_vm(self, step: Step) -> None:
        fields = CLASSES["VM"]
        given = {key: take(fields[key].kind, value) for key, value in step.items() if key in fields}
        given["other_config"] = {"mac_seed": "seed", **given.get("other_config", {})}
        vm = new_vm(self.place.xapi, {"name_label": "a VM", "affinity": "", **given})
        self._know(step["name"], "VM", vm)
        self.symbols.known.setdefault("$vm_metrics1", self.place.xapi.database.get("VM", vm, "metrics"))

    def _know(self, symbol: str, class_name: str, ref: str) -> None:
        self.symbols.known[symbol] = ref
        self.symbols.known[symbol + ".uuid"] = self.place.xapi.database.get(class_name, ref, "uuid")

    def _given(self, step: Step) -> None:
        """The card is there from the first; a second host is a record for which nobody answers."""
        if step["given"] == "host":
            database = self.place.xapi.database
            metrics = database.create("host_metrics", {"live": False})
            values = {
                "name_label": "second",
                "address": step["address"],
                "metrics": metrics,
                "enabled": False,
            }
            self._know(step["name"], "host", database.create("host", values))
            self._know("$host_metrics1", "host_metrics", metrics)

    # -- hooks -------------------------------------------------------------------------------------

    def _put(self, step: Step) -> None:
        path = step.get("file") or step["link"]
        if not path.startswith(HOOKS) or "/plugins/" in path:
            super()._put(step)
            return
        self._forget()
        if "text" in step:
            text = self._moved(self.symbols.given(step["text"]))
            text = text.replace("sleep 3\n", f"while [ ! -e {self._gate} ]; do sleep 0.02; done\n")
            text = text.replace("signal.alarm(6)", _PATIENCE).replace("class TooLong", self._once)
            if path.endswith("/50-recorder"):
                self._recorder = text
            step = dict(step, text=text)
        super()._put(step)

    def _place_recorders(self, hooks: List[str]) -> None:
        for hook in hooks:
            step = {"file": f"{HOOKS}{hook}/50-recorder", "mode": "0755", "text": self._recorder}
            self._put(step)

    def _remove(self, path: str) -> None:
        """What a hook has asked for and not waited for is done by then."""
        self._until(self._is_quiet)
        there = self._moved(path)
        names = os.listdir(os.path.dirname(there)) if path.endswith("/*") else [os.path.basename(there)]
        for name in names:
            found = os.path.join(os.path.dirname(there), name)
            if os.path.isdir(found) and not os.path.islink(found):
                os.rmdir(found)
            else:
                os.unlink(found)

    def _is_quiet(self) -> bool:
        xapi = self.place.xapi
        with xapi.life.changed:
            records = [xapi.database.record("VM", vm) for vm in xapi.database.refs("VM")]
            return not xapi.life.waiting and not any(record["current_operations"] for record in records)

    def _forget(self) -> None:
        """What hooks have written."""
        log = self._moved(_LOG)
        shutil.rmtree(log, ignore_errors=True)
        os.makedirs(log)

    def _written(self, name: str) -> str:
        path = self._moved(_LOG + name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def _follow(self, note: str) -> None:
        """A note that says what was done."""
        same = _SAME_FILE.fullmatch(note)
        if same:
            self._place_recorders(same.group(1).split(", "))
        elif note.startswith(("the recorders are back", "recorders of their arguments")):
            self._place_recorders(list(_VM_HOOKS))
        elif note.endswith("recorders are taken away again"):
            for path in glob.glob(self._moved(HOOKS + "*/50-recorder")):
                os.unlink(path)
        elif note == "$b is shut down again":
            self.place.xapi.call("VM.hard_shutdown", self.symbols.known["$b"])

    def _wait(self, task: str) -> None:
        if task not in self.symbols.known:  # a hook's: it has noted it
            self.symbols.known[task] = self._written("task")
        super()._wait(task)

    # -- starts ------------------------------------------------------------------------------------

    def _start_with_list(self, step: Step) -> None:
        """A step of passthrough.json."""
        xapi, vm = self.place.xapi, self.symbols.known["$vm"]
        other_config = {} if step["pci"] is None else {"pci": step["pci"]}
        xapi.call("VM.set_other_config", vm, other_config)
        xapi.call("VM.start", vm, False, False)
        plugged = self._plugged(vm)
        attached = xapi.call("VM.get_attached_PCIs", vm)
        xapi.call("VM.hard_shutdown", vm)
        self.symbols.expect(step["plugged_in_order"], plugged)
        self.symbols.expect(step["VM.attached_PCIs"], attached)

    def _plugged(self, vm: str) -> List[str]:
        xapi = self.place.xapi
        hypervisor = xapi.life.hypervisor(xapi, self.symbols.known["$host"])
        return hypervisor.plugged(xapi.database.get("VM", vm, "uuid"))

    def _start_at_once(self, count: int) -> List[List[str]]:
        """The outcomes of so many VM.start of $b."""
        outcomes: List[List[str]] = []

        def start() -> None:
            try:
                self.place.xapi.call("VM.start", self.symbols.known["$b"], False, False)
                outcomes.append(["Success"])
            except Failure as failure:
                outcomes.append(["Failure", *failure.description])

        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        return sorted(outcomes)

    # -- what was observed -------------------------------------------------------------------------

    def _observe(self, step: Step) -> None:
        what, value = step["observe"], step["value"]
        seen: Any
        if "hooks that r" in what:
            name = "hosthooks" if what.startswith("host hooks") else "hooks.json"
            runs = [json.loads(line) for line in self._written(name).splitlines()]
            seen = [self._called(run, value) for run in runs]
            self._forget()
        elif what.startswith("lines written"):
            seen = self._written("order").splitlines()
            self._forget()
        elif what.startswith("what the"):
            seen, value = _comparable(json.loads(self._written("said"))), _comparable(value)
        elif what == "the child lived on":
            self._until(lambda: self._written("child"))
            seen = True
        elif what in ("addresses attached", "plugged by the hard_reboot"):
            seen = self._plugged(self.symbols.known["$vm"])
        elif what.startswith("outcomes of 4"):
            seen = self._start_at_once(4)
        else:
            raise NotPlayable(what)
        self.symbols.expect(value, seen)

    def _called(self, run: Any, value: List[Any]) -> Any:
        """How a recorder was called, in the form in which the step has it."""
        argv = run["argv"] if isinstance(run, dict) else run
        argv = [argv[0].replace(self._moved(HOOKS), HOOKS), *argv[1:]]
        if value and isinstance(value[0], dict):
            return dict(run, argv=argv, uid=0)  # xapi is root; we are whoever we are
        return [argv[0].replace(HOOKS, ""), *argv[1:]]


def _comparable(said: Dict[str, Any]) -> Dict[str, Any]:
    """Without seconds, and the number of the domain, which counts all that were."""
    comparable = {key: value for key, value in said.items() if key != "seconds"}
    if "record" in comparable:
        record = comparable["record"]
        comparable["record"] = {key: value for key, value in record.items() if key != "domid"}
    return comparable
