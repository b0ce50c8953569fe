"""Drivers and the source around them."""
