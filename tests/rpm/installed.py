"""Our package on a host: where its parts are, and what a test asks about them."""

import json
import os
import xmlrpc.client
from typing import Set

from scratch import XAPI_D, Dom0

TREE = "/usr/libexec/xapi-sriov"
COPY = TREE + ".old"
LIBRARY = TREE + "/plugins/sriovlib"
PLUGIN = XAPI_D + "/plugins/sriov"
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


def compiled_modules(host: Dom0) -> Set[str]:
    """The modules of which there is byte code, in the tree and in a copy of it."""
    code = [path for path in host.files() if path.startswith(TREE) and path.endswith(".pyc")]
    return {os.path.basename(path).split(".")[0] + ".py" for path in code}
