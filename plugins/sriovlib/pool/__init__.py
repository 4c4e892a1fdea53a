"""The pool: who has what by xapi and the ledger, which VF a VM gets, and how that is written."""

# Keys of VM.other_config. Of a VM with requests its own UUID (see copies), for which each start looks:
MARK = "sriov-vm"
# Its VFs, for people to read (see custom_field):
FIELD = "XenCenter.CustomFields.sriov"
# And of pool.other_config, whether VMs have that; and of pool.gui_config, which of them XenCenter shows.
FIELD_WISH = "sriov-custom-field"
FIELD_DEFINITIONS = "XenCenter.CustomFields"

# That a guest has to let its VFs go: where nothing is said, and at most.
GUEST_SECONDS, GUEST_MOST_SECONDS = 60, 600
