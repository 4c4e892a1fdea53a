"""sriovctl: SR-IOV of a XenServer or XCP-ng pool from a terminal.

It shows and sequences; what is decided, the plugin `sriov` of the hosts decides. In dom0 it runs with the
standard library alone; what is for workstations imports its packages where it needs them.
"""
