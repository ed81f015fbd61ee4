"""Files, processes, devices and errors: the parts that do not depend on machine learning."""
