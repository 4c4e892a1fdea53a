"""What a boot does: makes the host what `/etc/sriov.conf` says. Each step on its own, so that one
that fails does not stop the others."""

from typing import Callable, List, NamedTuple, Optional

from . import pciback
from .host import Host


class Result(NamedTuple):
    """What became of one step; `error` is None where it went well."""

    step: str
    done: str
    error: Optional[str]


def restore(host: Host) -> List[Result]:
    """All steps that the configuration asks for, in their order."""
    steps = [("pciback", _pciback)]
    return [result for name, act in steps for result in _one(host, name, act)]


def _one(host: Host, name: str, act: Callable[[Host], Optional[str]]) -> List[Result]:
    try:
        done = act(host)
    except Exception as error:  # a bug of one step must not cost the host the others
        host.log(f"restore: {name} failed: {error}")
        return [Result(name, "", str(error))]
    if done is None:
        return []
    host.log(f"restore: {name}: {done}")
    return [Result(name, done, None)]


def _pciback(host: Host) -> Optional[str]:
    if not pciback.wanted(host):
        return None
    before = pciback.find(host)
    now = pciback.load(host)
    return f"{'there' if before.loaded else 'loaded'} ({now.module or 'built into the kernel'})"
