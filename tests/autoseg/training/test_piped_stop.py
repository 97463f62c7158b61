import multiprocessing
from types import SimpleNamespace

from autoseg.training.piped_stop import PipedStop, PipeEnd


def test_the_other_end_of_the_pipe_hears_of_it():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    stop, asked = PipedStop(ours), PipeEnd(theirs)
    assert not asked.is_set()
    stop.set()
    assert asked.is_set()


def test_a_process_may_decide_to_end_by_itself():
    theirs, ours = multiprocessing.Pipe(duplex=False)
    asked = PipeEnd(theirs)
    asked.set()
    assert asked.is_set()
    ours.close()


def test_end_is_asked_for_once_by_whichever_thread_comes_first():
    closings = []
    pipe = SimpleNamespace(close=lambda: closings.append("closed"))
    stop = PipedStop(pipe)
    assert not stop.is_set()
    stop.set()
    stop.set()  # a pipe that two threads close at once is an error to one of them
    assert stop.is_set()
    assert closings == ["closed"]
