"""What a pool is to be, in a file: read, compared with what it is, made so."""
