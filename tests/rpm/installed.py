"""Our package on a host: where its parts are, and what a test asks about them."""

import json
import os
import xmlrpc.client
from typing import Dict, Set

from packages import HOME, PLUGIN, Package
from scratch import Dom0

VM = "11111111-2222-4333-8444-555555555555"
CONFIGURATION = "/etc/sriov.conf"
ENABLED = "/etc/systemd/system/multi-user.target.wants/sriov-restore.service"
POOL_METRICS_ENABLED = "/etc/systemd/system/timers.target.wants/sriov-pool-metrics.timer"
METRICS_ENABLED = "/etc/systemd/system/multi-user.target.wants/sriov-metrics.service"
ALERTS_ENABLED = "/etc/systemd/system/timers.target.wants/sriov-alerts.timer"


def answering_version(host: Dom0) -> str:
    """Calls the plugin as xapi does: the version that answers."""
    call = xmlrpc.client.dumps(("OpaqueRef:session", {}), "inventory")
    ended = host.run(PLUGIN, call)
    assert ended.status == 0, ended.said
    ((answer,), _) = xmlrpc.client.loads(ended.said)
    assert isinstance(answer, dict)
    assert answer["Status"] == "Success", answer
    return str(json.loads(answer["Value"])["version"])


def links(host: Dom0, package: Package) -> Dict[str, str]:
    """Where each entry point that is there leads to. The hook that needs no xapi is run."""
    found = {path: os.readlink(host.path(path)) for path in package.links if os.path.lexists(host.path(path))}
    for path in found:
        if "vm-post-destroy" in path:
            ended = host.run(path, "-vmuuid", VM, "-reason", "hard-shutdown")
            assert (ended.status, ended.said) == (0, "")
    return found


def compiled_modules(host: Dom0) -> Set[str]:
    """The modules of which there is byte code, of any version, by path in the library."""
    code = [path for path in host.files() if path.startswith(HOME) and path.endswith(".pyc")]
    library = [path for path in code if "/plugins/sriovlib/" in path]
    inside = [path.partition("/plugins/sriovlib/")[2].replace("__pycache__/", "") for path in library]
    return {path.partition(".")[0] + ".py" for path in inside}
