"""Learning-rate schedules, the log of a run, its callbacks, and how it resumes."""
