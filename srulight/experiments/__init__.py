"""Many trainings as one experiment: comparisons of encoders, and searches for settings."""
