"""The pool: who has what by xapi and the ledger, which VF a VM gets, and how that is written."""

MARK = (
    "sriov-vm"  # in VM.other_config of a VM with requests: its own UUID, see copies. Each start looks for it
)
FIELD = "XenCenter.CustomFields.sriov"  # in VM.other_config: its VFs, for people to read, see custom_field
