"""Data sets as lists of samples with labels and splits, and the decoding of their files; no torch."""
