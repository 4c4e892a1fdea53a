"""`/etc/sriov.conf`: its text, its words, and which device a section means."""
