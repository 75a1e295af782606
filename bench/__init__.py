"""Loads and measurements: the official broker and ours in turn, in one run. Never packaged, never a timed test."""
