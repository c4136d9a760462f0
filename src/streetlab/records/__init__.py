"""Run records on disk: write, find, read and compare them."""
