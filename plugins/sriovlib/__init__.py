"""SR-IOV on one XenServer / XCP-ng host, and VFs for the VMs of its pool."""

VERSION = "0.1.0"
