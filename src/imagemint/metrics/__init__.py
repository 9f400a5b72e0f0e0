"""Measures of minted images against real ones; every number carries its sample count and its floor."""
