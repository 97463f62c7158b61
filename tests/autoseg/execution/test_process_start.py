import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoseg.execution.process_start import interrupts_held


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not blocked there")
def test_ctrl_c_waits_until_a_process_is_started_whatever_threads_there_are():
    ended, started = threading.Event(), []

    def start():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        started.append(True)

    other = threading.Thread(target=ended.wait)  # the kernel may give it the signal
    other.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), interrupts_held():
            start()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
        ended.set()
        other.join()
    assert started == [True]


FIRST = """
import multiprocessing, time
from pathlib import Path
from autoseg.execution.process_start import interrupts_held

spawn = multiprocessing.get_context("spawn")
with interrupts_held():
    lock = spawn.Lock()  # the first of this program; the kind that queues have
    process = spawn.Process(target=time.sleep, args=(30,))
    process.start()
print(Path(f"/proc/{process.pid}/status").read_text())
process.kill()
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_ctrl_c_is_blocked_in_the_first_process_of_a_program_too():
    found = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=60, check=True
    )
    (blocked,) = (
        int(line.split()[1], 16) for line in found.stdout.splitlines() if line.startswith("SigBlk")
    )
    assert blocked & 1 << (signal.SIGINT - 1)
