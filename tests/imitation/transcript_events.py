"""Plays what events.json has beside calls, and its answers of event.from, which were shortened: to the
objects in question, and to some of their fields."""

import re
import threading
import xmlrpc.client
from typing import Any, Dict, List, Optional

from transcript_match import Mismatch
from transcript_player import Step
from transcript_vms import VmPlayer
from values import Failure

LATER = "while the next call waits, 1 second later, other_config:later is added"
HOOK = "/etc/xapi.d/vm-pre-start/10-x"
GONE_AGAIN = "a clone is made and destroyed between two looks"


class EventPlayer(VmPlayer):
    """As VmPlayer, and steps of events."""

    _fresh: Optional[int] = None  # the generation before the first call since the last look

    def play(self, step: Step) -> None:
        if step.get("call") == "event.from" and "result" in step:
            self._prepare(step)
            self._play_from(step)
            self._fresh = None
            return
        if "call" in step and self._fresh is None:
            self._fresh = self._generation
        if step.get("call") == "event.next" and "result" in step:
            self._play_next(step)
        else:
            super().play(step)

    @property
    def _generation(self) -> int:
        return self.place.xapi.database.changes.generation

    def _call(self, method: str, params: List[Any], transport: str) -> Any:
        dated = [
            xmlrpc.client.DateTime(param["dateTime"])
            if isinstance(param, dict) and set(param) == {"dateTime"}
            else param
            for param in params
        ]
        return super()._call(method, dated, transport)

    def _create_vm(self, step: Step) -> None:
        super()._create_vm({"name_label": "alpha", **step})

    def _follow(self, note: str) -> None:
        xapi = self.place.xapi
        if note == LATER:
            vm = self.symbols.known["$vm"]
            threading.Timer(0.3, xapi.call, ["VM.add_to_other_config", vm, "later", "v"]).start()
        elif note == GONE_AGAIN:  # recorded without the change of its origin
            xapi.database.destroy("VM", xapi.database.create("VM", {}))
        else:
            super()._follow(note)

    def _prepare(self, step: Step) -> None:
        """A token that was taken without being shown, and what was done without being shown."""
        token = step["params"][1]
        if token.startswith("$token") and token not in self.symbols.known:
            generation = self._generation if self._fresh is None else self._fresh
            self.symbols.known[token] = f"{generation},{generation}"
        note = step.get("note", "")
        if note == "after task.destroy":
            self.place.xapi.call("task.destroy", self.symbols.known["$task"])
        elif note == "a change of a host":
            self.place.xapi.call("host.add_to_other_config", self.symbols.known["$host"], "k", "v")

    def _play_from(self, step: Step) -> None:
        answer = self._call(*self._wanted(step))
        if answer.get("Status") != "Success":
            raise Mismatch(f"a success was recorded, {answer} was answered")
        expected, value = step["result"], answer["Value"]
        if "keys" in expected:
            self._expect_shape(expected, value)
        else:
            shown = [self._shortened(event, value["events"]) for event in expected["events"]]
            self.symbols.expect(expected["events"], shown)
            if not expected["events"] and value["events"]:
                raise Mismatch(f"nothing was recorded, {value['events']} was answered")
        self.symbols.expect(expected["token"], value["token"])

    def _shortened(self, expected: Dict[str, Any], events: List[Dict[str, Any]]) -> Dict[str, Any]:
        """The answered event in question, with the recorded fields of its snapshot."""
        ref = self.symbols.known.get(expected["ref"])
        for event in events:
            same = (event["class"], event["operation"]) == (expected["class"], expected["operation"])
            if same and ref in (event["ref"], None):
                if "snapshot" in event:
                    kept = {name: event["snapshot"][name] for name in expected["snapshot"]}
                    return dict(event, snapshot=kept)
                return event
        raise Mismatch(f"{expected} was recorded, not in {len(events)} events")

    def _expect_shape(self, expected: Dict[str, Any], value: Dict[str, Any]) -> None:
        self.symbols.expect(expected["keys"], sorted(value))
        for event in value["events"]:
            self.symbols.expect(expected["event_keys"], sorted(event))
            kinds = {name: type(member).__name__ for name, member in event.items()}
            self.symbols.expect(expected["event_types_of_values"], kinds)

    # -- what was observed -----------------------------------------------------------------------

    def _observe(self, step: Step) -> None:
        what, value = step["observe"], step["value"]
        seen: Any
        if what.startswith("one event"):
            seen = self._one_event()
        elif what == "token":
            seen = re.sub(r"\d+", "N", self._look(["VM"], "", 0)["token"])
        elif what.startswith("events of $vm during: "):
            # Which states are seen in between differs from run to run.
            value, seen = value[-1], self._last_of(what.partition(": ")[2])
        elif what.startswith("task events"):
            token = f"{self._generation},{self._generation}"
            self._done("VM.start", self.symbols.known["$vm"], False, False)
            self._done("VM.hard_shutdown", self.symbols.known["$vm"])
            seen = self._look(["task"], token, 0)["events"]
        elif what.startswith("messages of a destroyed VM"):
            database = self.place.xapi.database
            about = {database.get("message", one, "obj_uuid") for one in database.refs("message")}
            seen = self.symbols.known["$vm.uuid"] in about
        else:
            super()._observe(step)
            return
        self.symbols.expect(value, seen)

    def _look(self, classes: List[str], token: str, seconds: float) -> Dict[str, Any]:
        answer: Dict[str, Any] = self._done("event.from", classes, token, seconds)
        return answer

    def _done(self, method: str, *params: Any) -> Any:
        """The result of a call in the one session: a login would be news too."""
        answer = self._call(method, [self.symbols.known["$session"], *params], "unix")
        if answer["Status"] != "Success":
            raise Failure(*answer["ErrorDescription"])
        return answer["Value"]

    def _one_event(self) -> Dict[str, Any]:
        vm = self.symbols.known["$vm"]
        (event,) = self._look([f"VM/{vm}"], "", 0)["events"]
        if event["snapshot"] != self._done("VM.get_record", vm):
            raise Mismatch("the snapshot is not the record")
        return dict(event, snapshot=f"{len(event['snapshot'])} fields, those of VM.get_record")

    def _last_of(self, what: str) -> List[Any]:
        """What the last event of a call says; of a refused start that of one that a hook refuses."""
        refused = "refused" in what
        method = "VM.start" if refused else what
        if refused:
            self._put({"file": HOOK, "mode": "0755", "text": "#!/bin/sh\nexit 2\n"})
        token, vm = f"{self._generation},{self._generation}", self.symbols.known["$vm"]
        further: Dict[str, List[Any]] = {"VM.start": [False, False], "VM.snapshot": ["s"]}
        try:
            self._done(method, vm, *further.get(method, []))
        except Failure:
            if not refused:
                raise
        finally:
            if refused:
                self._remove(HOOK)
        (event,) = self._look([f"VM/{vm}"], token, 0)["events"]
        record = event["snapshot"]
        state = {name: record[name] for name in ("power_state", "resident_on", "attached_PCIs")}
        state["current_operations"] = list(record["current_operations"].values())
        state["start allowed"] = "start" in record["allowed_operations"]
        return [event["operation"], state]

    def _play_next(self, step: Step) -> None:
        self._create_vm({"name": "$vm2"})
        answer = self._call(*self._wanted(step))
        for event in answer["Value"]:
            self.symbols.expect(step["event_keys"], sorted(event))
