"""A trained network made smaller: channels pruned, the rest trained on, both measured, as a run of its own."""
