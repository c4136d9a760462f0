"""The run record on disk: write, find, read, tabulate, compare. No torch here."""
