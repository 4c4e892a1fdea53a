"""What does not fit together in the pool, for `list_assignments`."""
