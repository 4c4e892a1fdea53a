"""The plugin's functions, one file each, and the table that names them."""
