"""Files, whatever lies in them: atomic writes, names as text, zip members, tables, work in order."""
