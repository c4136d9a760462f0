"""Figures, sheets and HTML pages. No torch here."""
