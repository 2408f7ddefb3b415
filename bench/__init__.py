"""Measures speed and size on this machine and prints the figures; asserts nothing."""
