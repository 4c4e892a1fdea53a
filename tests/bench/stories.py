"""What is measured of whole pools in a box, in this process: HA that restarts a dead host's VMs, and sriovctl
with hosts that take their time. HA's own waiting is virtual (tests/imitation/xapi/ha.py)."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Callable, Dict, Iterator

from bench.measure import Case, Sample, WentWrong
from bench.measured_host import Size
from bench.trees import THIS
from box import PoolInABox
from box_host import set_plugin
from machine_description import Description, default_description
from managed_pool import Pool, alike, other_slot
from programs import HERE

__all__ = ["alike", "other_slot", "restart", "status"]

VFS = 24

# Sleeps for the second that the slowest host takes, and answers as XenAPIPlugin does.
SLOW = f"""#!/bin/sh
{shutil.which("sleep")} 1
echo '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>'\
'Success</value></member><member><name>Value</name><value>{{"version": "0.1.0"}}</value></member>
</struct></value></param></params>
</methodResponse>'
"""


@contextmanager
def restart(second: Callable[[int], Description], size: Size) -> Iterator[Dict[str, Case]]:
    """From the moment at which HA holds the host for dead until its VMs run elsewhere. `second` is the host
    that dies."""
    vms = size.vms or 0
    yield {"floor": partial(_restarted, alike, vms, False), "this": partial(_restarted, second, vms, True)}


def _restarted(second: Callable[[int], Description], count: int, with_vfs: bool) -> Sample:
    with Pool.made(second, programs=HERE) as pool:
        for host in pool.hosts:
            pool.call("set_vf_count", host, pf="eth1", count=str(VFS))
        names = [f"vm{number}" for number in range(count)]
        vms = [pool.with_vf(name, on=pool.other) if with_vfs else pool.vm(name) for name in names]
        for vm in vms:
            pool.box.protect(pool.ref(vm))
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda vm: pool.start(vm, pool.other), vms))
        pool.box.lose(pool.other, noticed=False)
        begun = time.monotonic()
        pool.box.run_ha()
        if not pool.box.wait_for_calls(300):
            raise WentWrong("the VMs do not come to run")
        seconds = time.monotonic() - begun
        running = all(pool.power_state(vm) == "Running" for vm in vms)
        if not running or len({tuple(pool.devices(vm)) for vm in vms}) != (count if with_vfs else 1):
            raise WentWrong("VMs do not run, or not with a VF of their own")
        return Sample(seconds)


@contextmanager
def status(size: Size) -> Iterator[Dict[str, Case]]:
    """All hosts could answer at once on any machine, so what is left is what the client, its connections and
    the imitated xapi add to the second that each takes."""
    with PoolInABox([default_description(1)], interpreter=None, programs=HERE) as box:
        box.add_hosts(size.hosts - 1)
        plugin = os.path.join(box.folder, "slow")
        with open(plugin, "w", encoding="utf-8") as file:
            file.write(SLOW)
        os.chmod(plugin, 0o755)
        for host in box.hosts:
            set_plugin(host, plugin)
        environment = {**os.environ, "SRIOVCTL_HOST": box.url, "SRIOVCTL_PASSWORD": box.xapi.password}

        def asked() -> Sample:
            begun = time.monotonic()
            command = [sys.executable, THIS.client, "status", "--no-headers"]
            lines = subprocess.check_output(command, env=environment).splitlines()
            seconds = time.monotonic() - begun
            if len(lines) != size.hosts:
                raise WentWrong(f"{len(lines)} lines of {size.hosts} hosts")
            return Sample(seconds)

        asked()
        yield {"floor": lambda: Sample(1.0), "this": asked}
