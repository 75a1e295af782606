"""A simulated file system, and what a store must survive on it."""
