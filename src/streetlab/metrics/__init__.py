"""Numbers computed from predictions and confusion matrices, and the statistics of their differences; no torch."""
