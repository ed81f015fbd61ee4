"""Files, processes and errors: what knows nothing of learning."""
