"""Predict videos as streams, in memory that does not grow with their length."""
