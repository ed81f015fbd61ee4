"""Checks an installation of srulight, and describes it for a bug report."""
