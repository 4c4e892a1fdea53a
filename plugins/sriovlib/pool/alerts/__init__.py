"""What needs a person, as messages of xapi's, which XenCenter and Xen Orchestra show."""

from typing import NamedTuple


class Kind(NamedTuple):
    """What a message of one name is about. `priority`: as in xen-api, ocaml/xapi-consts/api_messages.ml."""

    class_name: str  # of its object, as xapi's messages name classes
    priority: int


class Alert(NamedTuple):
    """Whose UUID `uuid` is, the kind says."""

    code: str  # the name of the message
    uuid: str


SERVICE_MAY_FAIL, SERVICE_MAY_SUFFER = 2, 3

RESTORE_FAILED = "SRIOV_RESTORE_FAILED"
WITHOUT_PLUGIN = "SRIOV_HOST_WITHOUT_PLUGIN"
VF_MISSING = "SRIOV_VF_MISSING"
REPLACED_TWICE = "SRIOV_REPLACED_TWICE"
KINDS = {
    RESTORE_FAILED: Kind("Host", SERVICE_MAY_SUFFER),
    WITHOUT_PLUGIN: Kind("Host", SERVICE_MAY_SUFFER),
    VF_MISSING: Kind("VM", SERVICE_MAY_SUFFER),
    REPLACED_TWICE: Kind("VM", SERVICE_MAY_FAIL),
}
