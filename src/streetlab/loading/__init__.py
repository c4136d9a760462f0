"""Decoded images in a cache, and batches of them on the device that trains."""
