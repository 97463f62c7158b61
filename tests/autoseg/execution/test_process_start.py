import os
import signal
import sys
import threading
import time

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
