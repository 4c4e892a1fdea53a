"""The PFs and VFs of this host: what there is, how VFs are made, set, and restored at boot."""
