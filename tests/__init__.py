"""Tests of streetlab, as a package: a dependency installs another one of this name."""
