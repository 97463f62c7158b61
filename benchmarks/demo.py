"""The demo from start to end: its time and the Dice of its held-out cases, by precision.

    python benchmarks/demo.py SCRATCH [--device cpu --device cpu/float32]

There is no peer: nnU-Net has no demo.
"""

import argparse
import json
from pathlib import Path

from commands import empty_folder, run_autoseg


def main() -> None:
    """Measure and print one JSON line per device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--device", action="append", dest="devices")
    options = parser.parse_args()
    for device in options.devices or ["cpu", "cpu/float32"]:
        folder = empty_folder(options.scratch)
        done = run_autoseg("demo", "-o", folder, "--device", device, "--json")
        held_out = json.loads(done.output)["held_out"]
        dice = {label["label"]: label["mean_dice"] for label in held_out["labels"]}
        seconds = round(done.seconds, 1)
        print(
            json.dumps(
                {"device": device, "seconds": seconds, "mean": held_out["mean_dice"], **dice}
            )
        )


if __name__ == "__main__":
    main()
