"""`setup`: hosts get their VFs one after the other, with reboots where they are needed."""
