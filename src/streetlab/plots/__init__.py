"""Figures, overlays and HTML pages; no torch."""
