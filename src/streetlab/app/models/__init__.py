"""The catalog of models that the page offers."""
