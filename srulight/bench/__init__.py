"""Times layers of srulight and of other libraries side by side: the command ``bench``."""
