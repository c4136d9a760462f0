"""Audit a data set: duplicates, leaks, contradicting labels, broken files; and draw splits without leaks."""
