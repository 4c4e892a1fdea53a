"""What the VFs of running VMs carry, as xapi's statistics of the VMs."""
