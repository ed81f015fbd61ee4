"""The networks of the tasks as models with named inputs and outputs, one task per file."""
