"""Checkpoint files: what they hold, read and written in one place."""
