"""Audio frontend: reads audio files and computes feature frames."""
