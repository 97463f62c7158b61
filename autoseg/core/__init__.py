"""Value types and arithmetic: standard library and numpy, no files, no torch."""
