"""From files of sound to frames."""
