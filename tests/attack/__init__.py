"""Attacks on a running server: through its files and its control socket."""
