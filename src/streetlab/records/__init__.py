"""Run records on disk: write, find, read, and tell whether one is of the run that is asked for."""
