"""How long ``autoseg check`` takes for a dataset, the first time and again.

    PYTHONPATH=. python benchmarks/check_time.py DATASET SCRATCH

With two workers. nnU-Net has nothing to compare with: its own check neither lists all faults nor
looks for outliers.
"""

import json
import sys
from pathlib import Path

from commands import empty_folder, run_autoseg


def main() -> None:
    """Measure and print one JSON line."""
    dataset, scratch = Path(sys.argv[1]), empty_folder(Path(sys.argv[2]))
    check = ("check", "-d", dataset, "--workspace", scratch, "--workers", "2", "--json")
    first, again = run_autoseg(*check), run_autoseg(*check)
    report = json.loads(first.output)
    print(
        json.dumps(
            {
                "cases": report["cases"],
                "refused": len(report["refused"]),
                "suspicious": len(report["suspicious"]),
                "first_s": round(first.seconds, 2),
                "again_s": round(again.seconds, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
