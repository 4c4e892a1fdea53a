"""Our package on a host: where its parts are, and what a test asks about them."""

import json
import os
import xmlrpc.client
from typing import Dict, Set

from scratch import XAPI_D, Dom0

TREE = "/usr/libexec/xapi-sriov"
COPY = TREE + ".old"
LIBRARY = TREE + "/plugins/sriovlib"
PLUGIN = XAPI_D + "/plugins/sriov"
HOOKS = {  # folder of xapi -> file of ours
    f"{XAPI_D}/{hook}/50-xapi-sriov": f"{TREE}/hooks/xapi/{hook}"
    for hook in ("vm-pre-start", "vm-pre-resume", "vm-post-destroy")
}
VM = "11111111-2222-4333-8444-555555555555"
CONFIGURATION = "/etc/sriov.conf"
ENABLED = "/etc/systemd/system/multi-user.target.wants/sriov-restore.service"


def answering_version(host: Dom0) -> str:
    """Calls the plugin as xapi does: the version that answers."""
    call = xmlrpc.client.dumps(("OpaqueRef:session", {}), "inventory")
    ended = host.run(PLUGIN, call)
    assert ended.status == 0, ended.said
    ((answer,), _) = xmlrpc.client.loads(ended.said)
    assert isinstance(answer, dict)
    assert answer["Status"] == "Success", answer
    return str(json.loads(answer["Value"])["version"])


def linked_hooks(host: Dom0) -> Dict[str, str]:
    """Where each entry of ours in a hook folder leads to. The one that needs no xapi is run."""
    found = {path: os.readlink(host.path(path)) for path in HOOKS if os.path.lexists(host.path(path))}
    for path in found:
        if "vm-post-destroy" in path:
            ended = host.run(path, "-vmuuid", VM, "-reason", "hard-shutdown")
            assert (ended.status, ended.said) == (0, "")
    return found


def compiled_modules(host: Dom0) -> Set[str]:
    """The modules of which there is byte code, in the tree and in a copy of it, by path in the library."""
    code = [path for path in host.files() if path.startswith(TREE) and path.endswith(".pyc")]
    inside = [path.partition("/plugins/sriovlib/")[2].replace("__pycache__/", "") for path in code]
    return {path.partition(".")[0] + ".py" for path in inside}
