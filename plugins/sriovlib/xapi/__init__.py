"""This host's xapi: sessions and calls."""
