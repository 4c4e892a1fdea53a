"""Makes a Python that the pool in a box starts a Python of its dom0; the program itself knows nothing of it.

Python imports this module at its start, where the folder is on PYTHONPATH. Four variables say what to do:
POOL_IN_A_BOX_XAPI is the url that `XenAPI.xapi_local()` reaches, as XenAPI writes it (`http://_a_b/` is the
Unix socket /a/b); POOL_IN_A_BOX_MACHINE is the folder of the machine that
`sriovlib.machine.host.this_machine()` returns; POOL_IN_A_BOX_CLOCK is a file that says by how many seconds
`time.time()` is ahead, if it is there; POOL_IN_A_BOX_HURRY makes waits shorter (see ../hurry.py).
Nothing is imported before the program does so, and then the environment is as xapi leaves it.
"""

import os
import sys

TYPE_CHECKING = False  # importing typing would cost as much as all the rest
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

    Change = Callable[[Any], None]

IMITATION = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Changes:
    """An entry of sys.meta_path: modules of some names are changed as soon as they have been loaded."""

    def __init__(self, changes: "Dict[str, Change]") -> None:
        self._changes = changes

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if name not in self._changes:
            return None
        change = self._changes.pop(name)  # so that this finder passes it on below
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                _change_after_loading(spec.loader, change)
                return spec
        return None


def _change_after_loading(loader: "Any", change: "Change") -> None:
    load = loader.exec_module

    def load_and_change(module: "Any") -> None:
        load(module)
        change(module)

    loader.exec_module = load_and_change


def _reaches(url: str) -> "Change":
    """XenAPI: the local xapi is the one at `url`."""

    def change(module: "Any") -> None:
        def xapi_local() -> "Any":
            transport = module.UDSTransport() if url.startswith("http://_") else None
            return module.Session(url, transport=transport)

        module.xapi_local = xapi_local

    return change


def _is(folder: str) -> "Change":
    """sriovlib.machine.host: this machine is the one in `folder`."""

    def change(module: "Any") -> None:
        def this_machine() -> "Any":
            sys.path.extend(os.path.join(IMITATION, part) for part in ("machine", "kernel", "commands"))
            import machine

            return machine.Machine(folder)

        real = module.this_machine
        for each in list(sys.modules.values()):  # all that have taken it from there
            names = getattr(each, "__dict__", {})
            if names.get("this_machine") is real:
                names["this_machine"] = this_machine

    return change


def _set_ahead(clock: str) -> None:
    """Time that a test has let pass at once has passed for time.time()."""
    try:
        with open(clock) as file:
            ahead = float(file.read())
    except FileNotFoundError:
        return
    import time

    real = time.time
    time.time = lambda: real() + ahead


def _hurry(ahead: float, rate: float) -> "Dict[str, Change]":
    """time.monotonic() is `ahead + rate * real`, and whatever waits goes by it."""
    import time

    real, sleep = time.monotonic, time.sleep
    time.monotonic = lambda: ahead + rate * real()
    time.sleep = lambda seconds: sleep(seconds / rate)

    def change_socket(module: "Any") -> None:
        set_timeout = module.socket.settimeout

        def settimeout(self: "Any", seconds: "Any") -> None:
            set_timeout(self, seconds and seconds / rate)

        module.socket.settimeout = settimeout

    def change_subprocess(module: "Any") -> None:
        module._time = real
        do_communicate = module.Popen.communicate

        def communicate(self: "Any", input: "Any" = None, timeout: "Any" = None) -> "Any":
            return do_communicate(self, input, timeout and timeout / rate)

        module.Popen.communicate = communicate

    def change_session(module: "Any") -> None:
        def set_deadline(connection: "Any", deadline: float) -> None:
            connection.settimeout(max(deadline - time.monotonic(), 0.1) / rate)

        module.set_deadline = set_deadline

    def change_at_once(module: "Any") -> None:
        change_session(module)
        select = module.select

        class Poll:
            def __init__(self) -> None:
                poll = select.poll()
                self.register, self.unregister = poll.register, poll.unregister
                self.poll = lambda milliseconds: poll.poll(milliseconds / rate)

        module.select = type("select", (), {"poll": Poll, "POLLIN": select.POLLIN})

    return {
        "socket": change_socket,
        "subprocess": change_subprocess,
        "sriovlib.xapi.session": change_session,
        "sriovlib.xapi.at_once": change_at_once,
    }


def _install() -> None:
    changes: Dict[str, Change] = {}
    os.environ.pop("PYTHONPATH", None)
    url = os.environ.pop("POOL_IN_A_BOX_XAPI", None)
    folder = os.environ.pop("POOL_IN_A_BOX_MACHINE", None)
    clock = os.environ.pop("POOL_IN_A_BOX_CLOCK", None)
    hurry = os.environ.pop("POOL_IN_A_BOX_HURRY", None)
    if clock is not None:
        _set_ahead(clock)
    if hurry is not None:
        changes.update(_hurry(*map(float, hurry.split())))
    if url is not None:
        changes["XenAPI"] = _reaches(url)
    if folder is not None:
        changes["sriovlib.machine.host"] = _is(folder)
    for name in [name for name in changes if name in sys.modules]:  # fork_server.py has some in memory
        changes.pop(name)(sys.modules[name])
    sys.meta_path.insert(0, Changes(changes))


_install()
