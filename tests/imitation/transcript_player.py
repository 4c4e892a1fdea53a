"""Plays a transcript against the imitation: makes its calls, puts its files in place, compares.

How answers are compared is transcript_match.py's. The texts that follow INTERNAL_ERROR, and what an HTTP
page says under "Additional information", change between releases of xapi: only the code is compared.
"""

import contextlib
import http.client
import json
import os
import re
import socket
import threading
import time
import xmlrpc.client
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from transcript_match import Mismatch, Symbols, cut
from values import internal_error
from xapi import Xapi

Step = Dict[str, Any]
FIRST_LINE = 6  # of the steps in a transcript's file: each is a line
SECONDS = 60.0  # a task that takes longer hangs


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


class NotPlayable(Exception):
    """A step of a kind that nothing here can play."""


class Place(NamedTuple):
    """Where the transcript's dom0 is: the socket of its xapi, and its files under other paths."""

    xapi: Xapi
    socket: str
    paths: Mapping[str, str]  # a path in the transcript -> where it is


def steps(path: str) -> Dict[int, Step]:
    """The steps of a transcript, each by its line in the file."""
    with open(path, encoding="utf-8") as file:
        return dict(enumerate(json.load(file)["steps"], FIRST_LINE))


class Player:
    """The state between steps: what the symbols stand for, and the calls under way."""

    def __init__(self, place: Place, known: Dict[str, str]) -> None:
        self.place = place
        self.symbols = Symbols(known)
        self._begun: Dict[str, Tuple[threading.Thread, List[Any]]] = {}
        self.log_in()

    def log_in(self) -> None:
        session = self._call("session.login_with_password", ["root", "", "1.0", "the player"], "unix")
        self.symbols.known["$session"] = session["Value"]
        record = self._call("session.get_record", [session["Value"], session["Value"]], "unix")
        self.symbols.known["$session.uuid"] = record["Value"]["uuid"]

    def play(self, step: Step) -> None:
        """Raises Mismatch where the step went another way, NotPlayable where it cannot be played."""
        if "begin" in step:
            self._begin(step)
        elif "end" in step:
            thread, answers = self._begun.pop(step["end"])
            thread.join(SECONDS)
            self._expect_answer(step, answers[0])
        elif "call" in step:
            self._expect_answer(step, self._call(*self._wanted(step)))
        elif "http" in step:
            self._play_http(step)
        elif "wait" in step:
            self._wait(step["wait"])
        elif "file" in step or "link" in step:
            self._put(step)
        elif set(step) != {"note"} and step.get("given") != "objects":
            raise NotPlayable(", ".join(step))

    # -- calls of the API --------------------------------------------------------------------------

    def _wanted(self, step: Step) -> Tuple[str, List[Any], str]:
        params = self.symbols.given(step["params"])
        session = step.get("session", "$session")
        if session is not None:
            params = [self.symbols.given(session), *params]
        password = self.place.xapi.password
        params = [password if param == "<the right password>" else param for param in params]
        return step["call"], params, step.get("transport", "unix")

    def _call(self, method: str, params: List[Any], transport: str) -> Any:
        """What the client library sees: the answer's struct, or the status and body that are none."""
        body = xmlrpc.client.dumps(tuple(params), method).encode()
        status, _, reply = self._exchange(transport, "POST", "/", body, {"Content-Type": "text/xml"})
        if status != 200:
            return {"status": status, "reply": reply}
        ((answer,), _) = xmlrpc.client.loads(reply)
        return _plain(answer)

    def _exchange(
        self, transport: str, verb: str, path: str, body: bytes, headers: Dict[str, str]
    ) -> Tuple[int, str, str]:
        if transport == "unix":
            connection: http.client.HTTPConnection = UnixConnection(self.place.socket)
        else:
            connection = http.client.HTTPConnection(self.place.xapi.url.partition("//")[2])
        with contextlib.closing(connection):
            connection.request(verb, path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read().decode()

    def _begin(self, step: Step) -> None:
        answers: List[Any] = []
        wanted = self._wanted(step)
        thread = threading.Thread(target=lambda: answers.append(self._call(*wanted)))
        thread.start()
        self._begun[step["begin"]] = thread, answers

    def _expect_answer(self, step: Step, answer: Any) -> None:
        if "not_compared" in step:
            return
        if "failure" in step:
            if "ErrorDescription" not in answer:
                raise Mismatch(f"{step['failure']} was recorded, {answer} was answered")
            self.symbols.expect(_coded(step["failure"]), _coded(answer["ErrorDescription"]))
        else:
            if answer.get("Status") != "Success":
                raise Mismatch(f"a success was recorded, {answer} was answered")
            many = not step.get("call", "").endswith(".get_record")
            value = cut(answer["Value"], step.get("only_fields"), many)
            field = step.get("call", "").partition(".get_")[2]
            self.symbols.expect(self._moved(step["result"]), value, field)

    def _wait(self, task: str) -> None:
        end = time.monotonic() + SECONDS
        params = [self.symbols.known["$session"], self.symbols.known[task]]
        while self._call("task.get_status", params, "unix")["Value"] == "pending":
            if time.monotonic() > end:
                raise Mismatch(f"the task is still pending after {SECONDS:g} seconds")
            time.sleep(0.02)

    def _play_http(self, step: Step) -> None:
        request = step["http"]
        body = self.symbols.given(request.get("body", "")).encode()
        headers = {"Content-Type": request["content_type"]} if "content_type" in request else {}
        verb = request.get("method", "POST")
        transport = step.get("transport", "unix")
        status, content_type, reply = self._exchange(transport, verb, request["path"], body, headers)
        self.symbols.expect(step["status"], status)
        self.symbols.expect(step.get("reply_content_type", "*"), content_type)
        self.symbols.expect(_comparable(step["reply"]), _comparable(reply))

    # -- dom0's files, objects -----------------------------------------------------------------------

    def _put(self, step: Step) -> None:
        path = self._moved(step.get("file") or step["link"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if "link" in step:
            os.symlink(step["to"], path)
            return
        with open(path, "w", encoding="utf-8") as file:
            file.write(step["text"])
        os.chmod(path, int(step["mode"], 8))

    def _moved(self, value: Any) -> Any:
        """A text of the transcript's dom0 with its paths as they are here."""
        if isinstance(value, str):
            for path, moved in self.place.paths.items():
                value = value.replace(path, moved)
        return value


def _plain(value: Any) -> Any:
    """Dates as text, as transcripts have them."""
    if isinstance(value, xmlrpc.client.DateTime):
        return str(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


_INTERNAL_ERROR = internal_error("").description[0]
_TEXTS = re.compile(
    r"(?<=INTERNAL_ERROR</value>)<value>.*?</value>"
    r'|(?<="INTERNAL_ERROR","data":)\[.*?\](?=\})'
    r"|(?<=Additional information </h1>).*(?=</body>)",
    re.DOTALL,
)


def _coded(description: List[str]) -> List[str]:
    return description[:1] if description[:1] == [_INTERNAL_ERROR] else description


def _comparable(reply: str) -> str:
    """A raw reply without the texts that are OCaml's."""
    return _TEXTS.sub("", reply)
