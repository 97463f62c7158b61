"""How long planning takes, all configurations with traced memory: eight known datasets.

    PYTHONPATH=. python benchmarks/planning_time.py

One line per dataset and memory, in a process of its own each, with what is loaded for it.
"""

import subprocess
import sys
import time

from golden_plans import BUDGETS, DATASETS


def main() -> None:
    """Time every plan and print the longest."""
    longest = 0.0
    for name in DATASETS:
        for budget, gib in BUDGETS.items():
            code = f"from golden_plans import drawn, own; own(drawn({name!r}, 0), {gib})"
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=sys.path[0])
            took = time.monotonic() - started
            longest = max(longest, took)
            print(f"{name:12} {budget:16} {took:6.1f} s", flush=True)
    print(f"longest: {longest:.1f} s")


if __name__ == "__main__":
    main()
