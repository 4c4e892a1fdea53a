#!/usr/bin/python3
"""Ansible module: ports and VMs of a pool are made as a document says, by `sriovctl apply`."""

import json
from typing import Any, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: xapi_sriov
short_description: SR-IOV of a XenServer or XCP-ng pool, as a document says
description:
  - Runs C(sriovctl apply). Ports get their number of VFs, and VMs just the VFs that the document names.
  - What the document does not name is left alone. A VM is changed while it is halted only.
  - The plan is the diff; check mode changes nothing.
options:
  document:
    description: The document, with the keys C(ports) and C(vms); see docs/apply.md of xapi-sriov.
    type: dict
  src:
    description: A file with it on the host that runs the task, instead of O(document).
    type: path
  pool:
    description: A pool of sriovctl's configuration file.
    type: str
  host:
    description: Address of the pool, if no O(pool) is named. Neither is needed in a host's dom0.
    type: str
  user:
    description: Who logs in, with the role pool-admin.
    type: str
  password:
    description: Of the user. Without it sriovctl finds the password as it always does.
    type: str
  ca_file:
    description: Certificates of the CAs that the pool's is verified by, in PEM.
    type: path
  fingerprint:
    description: Take only a certificate with this SHA-256.
    type: str
  executable:
    description: The command.
    type: str
    default: sriovctl
requirements: [sriovctl]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: the maintainers of xapi-sriov
"""

EXAMPLES = r"""
- name: Eight VFs on each eth1, and one of them for the web server
  delegate_to: localhost
  xapi_sriov:
    host: pool1.example.org
    password: "{{ pool1_password }}"
    document:
      ports: {"*/eth1": 8}
      vms:
        web:
          vfs:
            - {network: storage, vlan: 12}

- name: What the repository says, in dom0
  xapi_sriov:
    src: /etc/sriov-pool.json
"""

RETURN = r"""
changes:
  description: What was changed, or would be; the records of C(sriovctl apply -o json).
  returned: always
  type: list
  elements: dict
messages:
  description: What sriovctl said besides, line by line.
  returned: always
  type: list
  elements: str
"""

OPTIONS: Dict[str, Dict[str, Any]] = {
    "document": {"type": "dict"},
    "src": {"type": "path"},
    "pool": {"type": "str"},
    "host": {"type": "str"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
    "fingerprint": {"type": "str"},
    "executable": {"type": "str", "default": "sriovctl"},
}
PARTLY = 4


def command(params: Dict[str, Any], check_mode: bool) -> Tuple[List[str], Optional[str]]:
    """Its words, and what it reads from standard input."""
    words = [params["executable"], "apply", params["src"] or "-", "-o", "json", "--no-input"]
    words.append("--dry-run" if check_mode else "--yes")
    for name in ("pool", "host", "user", "ca_file", "fingerprint"):
        if params[name]:
            words += ["--" + name.replace("_", "-"), params[name]]
    return words, None if params["src"] else json.dumps(params["document"])


def result(status: int, out: str, err: str) -> Dict[str, Any]:
    """What the task returns; `failed` where the pool is not, or would not become, as the document says."""
    try:
        changes = json.loads(out)
    except ValueError:  # nothing was looked at
        changes, status = [], status or 1
    made = [one for one in changes if one["result"] != "failed"]
    ended: Dict[str, Any] = {
        "changed": bool(made),
        "changes": changes,
        "messages": err.splitlines(),
        "diff": {"prepared": "".join(one["change"] + "\n" for one in changes)},
        "rc": status,
    }
    if status != 0:
        wrong = [line for line in ended["messages"] if line.startswith("error: ")]
        said = "; ".join(line[len("error: ") :] for line in wrong) or err.strip() or "no answer"
        ended["failed"] = True
        ended["msg"] = f"sriovctl apply {'did only a part' if status == PARTLY else 'failed'}: {said}"
    return ended


def main() -> None:
    module = AnsibleModule(
        OPTIONS,
        supports_check_mode=True,
        mutually_exclusive=[("document", "src"), ("pool", "host")],
        required_one_of=[("document", "src")],
    )
    words, text = command(module.params, module.check_mode)
    own = {"SRIOVCTL_PASSWORD": module.params["password"]} if module.params["password"] else {}
    ended = result(*module.run_command(words, data=text, environ_update={**own, "NO_COLOR": "1"}))
    for one in ended["changes"]:
        if one["blocked"]:
            module.warn(one["blocked"])
    module.exit_json(**ended) if not ended.get("failed") else module.fail_json(**ended)


if __name__ == "__main__":
    main()
