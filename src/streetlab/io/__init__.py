"""Reading and writing files: atomic writes, file names as text, zip members, tables, ordered parallel work."""
