"""Schedules, the log, and what watches and resumes a run."""
