"""Exports the network of a checkpoint to formats that run without srulight."""
