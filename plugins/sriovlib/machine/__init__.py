"""This dom0: reads it and writes to it, and decides nothing."""
