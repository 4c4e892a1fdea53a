"""Xen's command line for the next boot, of which only the IOMMU options are read and changed."""
