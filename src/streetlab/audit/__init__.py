"""What is wrong with a data set: copies, leaks, contradicting labels, broken files; and splits that do not leak."""
