"""Run the program as ``python -m autoseg``."""

from autoseg.cli.main import console

if __name__ == "__main__":
    console()
