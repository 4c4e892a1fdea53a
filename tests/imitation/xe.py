#!/usr/bin/env python3
"""Some commands of xe, by XenAPI: those that the documents show. As a program it asks the pool that
SRIOVCTL_HOST and SRIOVCTL_PASSWORD name."""

import os
import sys
from typing import Any, Dict, List

import XenAPI


class Mistake(Exception):
    """What xe says of its words."""


class Parameters(Dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise Mistake(f"Required parameter not found: {name}")


def run(api: Any, words: List[str]) -> str:
    """What xe prints; a refusal of xapi is a XenAPI.Failure, which `refusal` puts as xe does."""
    for word in words[1:]:
        if "=" not in word:
            raise Mistake(f"Syntax error: {word} is not NAME=VALUE")
    command, parameters = words[0], Parameters(word.split("=", 1) for word in words[1:])
    return str(COMMANDS[command](api, parameters) or "")


def refusal(failure: XenAPI.Failure) -> str:
    code, *details = failure.details
    if code != "XAPI_HOOK_FAILED":
        return f"Error code: {code}\nError parameters: {', '.join(details)}"
    hook, reason, stdout, status = details
    return (
        f"3rd party xapi hook failed\nhook_name: {hook}\nreason: {reason}\n"
        f"stdout: {stdout.strip()}\n\nexit_code: {status}"
    )


def _vm(api: Any, parameters: Dict[str, str]) -> str:
    return str(api.VM.get_by_uuid(parameters["uuid"]))


def _host_call_plugin(api: Any, parameters: Dict[str, str]) -> Any:
    args = {name[5:]: value for name, value in parameters.items() if name.startswith("args:")}
    host = api.host.get_by_uuid(parameters["host-uuid"])
    return api.host.call_plugin(host, parameters["plugin"], parameters["fn"], args)


def _host_enable(api: Any, parameters: Dict[str, str]) -> None:
    api.host.enable(api.host.get_by_uuid(parameters["uuid"]))


def _vm_migrate(api: Any, parameters: Dict[str, str]) -> None:
    (host,) = api.host.get_by_name_label(parameters["host"])
    api.VM.pool_migrate(_vm(api, parameters), host, {"live": parameters.get("live", "false")})


def _vm_start(api: Any, parameters: Dict[str, str]) -> None:
    if "on" in parameters:
        (host,) = api.host.get_by_name_label(parameters["on"])
        api.VM.start_on(_vm(api, parameters), host, False, False)
    else:
        api.VM.start(_vm(api, parameters), False, False)


def _vm_shutdown(api: Any, parameters: Dict[str, str]) -> None:
    api.VM.clean_shutdown(_vm(api, parameters))


def _vm_clone(api: Any, parameters: Dict[str, str]) -> Any:
    return api.VM.get_uuid(api.VM.clone(_vm(api, parameters), parameters["new-name-label"]))


def _vif_create(api: Any, parameters: Dict[str, str]) -> Any:
    record = {
        "VM": api.VM.get_by_uuid(parameters["vm-uuid"]),
        "network": api.network.get_by_uuid(parameters["network-uuid"]),
        "device": parameters["device"],
        "MAC": parameters["mac"],
    }
    return api.VIF.get_uuid(api.VIF.create(record))


def _vm_param_get(api: Any, parameters: Dict[str, str]) -> str:
    value = _of(api.VM.get_record(_vm(api, parameters)), parameters["param-name"].replace("-", "_"))
    return str(_of(value, parameters["param-key"]) if "param-key" in parameters else value).lower()


def _of(record: Dict[str, Any], key: str) -> Any:
    if key not in record:
        raise Mistake(f"Key {key} not found in map")
    return record[key]


def _vm_param_remove(api: Any, parameters: Dict[str, str]) -> None:
    remove = getattr(api.VM, "remove_from_" + parameters["param-name"].replace("-", "_"))
    remove(_vm(api, parameters), parameters["param-key"])


COMMANDS = {
    "host-call-plugin": _host_call_plugin,
    "host-enable": _host_enable,
    "vm-start": _vm_start,
    "vm-migrate": _vm_migrate,
    "vm-shutdown": _vm_shutdown,
    "vm-clone": _vm_clone,
    "vif-create": _vif_create,
    "vm-param-get": _vm_param_get,
    "vm-param-remove": _vm_param_remove,
}


def main(words: List[str]) -> int:
    if not words or words[0] not in COMMANDS:
        print(f"This xe of the demonstration has {', '.join(COMMANDS)} only.", file=sys.stderr)
        return 1
    session = XenAPI.Session(os.environ["SRIOVCTL_HOST"])
    session.login_with_password("root", os.environ["SRIOVCTL_PASSWORD"])
    try:
        said = run(session.xenapi, words)
    except XenAPI.Failure as failure:
        print(refusal(failure), file=sys.stderr)
        return 1
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 1
    finally:
        session.logout()
    if said:
        print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
