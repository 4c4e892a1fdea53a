"""Xen's command line for the next boot: the option `iommu=` in extlinux.conf and in GRUB's configuration."""
