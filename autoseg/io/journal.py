"""The journal of a command: one JSON line per event, appended to ``run.jsonl``."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from autoseg.io import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """An append-only log of events."""

    path: Path
    """The file."""

    def record(self, event: str, **values: object) -> None:
        """Append one event with its time (seconds since 1970) and values; they must be JSON."""
        line = json.dumps(
            {"time": round(time.time(), 3), "event": event, **values}, allow_nan=False
        )
        files.append_line(self.path, line)

    def events(self) -> list[dict[str, object]]:
        """Read all complete lines back; a line torn by a crash is left out."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found
