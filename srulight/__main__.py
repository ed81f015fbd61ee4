"""Runs the command line: ``python -m srulight fit --config configs/quickstart.yaml``."""

from srulight.cli import main

if __name__ == "__main__":
    main()
