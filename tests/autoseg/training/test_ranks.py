"""That two real processes, started by torchrun, train as one does with the whole batch."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.core.errors import ResourceError, UsageError
from autoseg.training import ranks as ranks_module
from autoseg.training.ranks import SINGLE, Ranks, open_ranks, this_process

PROGRAM = Path(__file__).with_name("two_ranks.py")
SPEC = spec_from_file_location("two_ranks", PROGRAM)
two_ranks = module_from_spec(SPEC)
SPEC.loader.exec_module(two_ranks)
BROKEN = [name for name, s in two_ranks.SCENARIOS.items() if s.broken_step is not None]


def rank(number, count=2):
    return Ranks(rank=number, count=count, local_rank=number)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Let torchrun start two processes; return what each found."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun = (sys.executable, "-W", "ignore", "-m", "torch.distributed.run")
    options = ("--standalone", "--local-addr", "localhost", "--nproc-per-node", "2")
    ended = subprocess.run(
        (*torchrun, *options, str(PROGRAM), str(folder)),
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [dict(np.load(folder / f"rank_{number}.npz")) for number in (0, 1)]


@pytest.fixture(scope="module")
def alone():
    """Train each scenario in this process with the whole batch."""
    return {
        name: two_ranks.train(scenario, SINGLE) for name, scenario in two_ranks.SCENARIOS.items()
    }


@pytest.mark.parametrize("name", two_ranks.SCENARIOS)
def test_two_processes_train_as_one_with_the_whole_batch(both, alone, name):
    tolerance = 1e-4 if name == "float32" else 1e-10
    for found in both:
        for key in ("losses", "norms", "weights"):
            expected = alone[name][key]
            np.testing.assert_allclose(found[f"{name}/{key}"], expected, rtol=0, atol=tolerance)
    assert np.isfinite(alone[name]["losses"]).sum() == (4 if name in BROKEN else 5)


@pytest.mark.parametrize("name", two_ranks.SCENARIOS)
def test_processes_keep_the_same_weights_to_the_bit(both, name):
    first, second = (found[f"{name}/weights"] for found in both)
    assert np.array_equal(first, second)
    assert np.abs(first[-1] - first[0]).max() > 1e-3


@pytest.mark.parametrize("name", BROKEN)
def test_loss_that_is_no_number_in_one_process_skips_the_step_in_both(both, name):
    for found in both:
        before, broken, after = found[f"{name}/weights"][1:4]
        assert np.isnan(found[f"{name}/losses"]).tolist() == [False, False, True, False, False]
        assert np.isnan(found[f"{name}/norms"]).tolist() == [False, False, True, False, False]
        assert np.array_equal(before, broken)
        assert not np.array_equal(broken, after)
        assert found[f"{name}/steps"] == 5


def test_scale_of_the_loss_falls_in_both_processes(both):
    assert [found["broken-and-scaled/scale"] for found in both] == [128.0, 128.0]


def test_one_process_that_is_asked_to_stop_stops_both(both):
    assert [found["asked"].tolist() for found in both] == [[True, False], [True, False]]


def test_first_process_tells_its_number_exactly(both):
    assert [found["of_first"] for found in both] == [0.1, 0.1]


def test_integers_are_summed_exactly(both):
    # 2**60 + 2**59 and 3 + 3 // 2
    assert [found["counts"].tolist() for found in both] == [[2**60 + 2**59, 4]] * 2


def test_tensors_of_any_type_and_order_are_summed_in_place(both):
    for found in both:
        assert (found["mixed 0"] == 3.0).all()
        assert found["mixed 1"].tolist() == [8]
        assert (found["mixed 2"] == 2.0).all()
        assert np.array_equal(found["mixed 3"], 2 * np.arange(12.0).reshape(3, 4).T)


def test_gradient_of_a_sum_reaches_each_process_once(both):
    # d(sum of a x x) / dx = 2 a x, with x = (2, 3) and a = (1, 10)
    assert [found["gradient"].tolist() for found in both] == [[4.0, 60.0]] * 2


def test_process_whose_company_has_left_is_told_so(both):
    assert "process 0 of 2: another one has ended" in str(both[0]["lost"])


def test_group_ends_with_its_block(both):
    # a group that lives on keeps threads, which crash the interpreter when it ends
    assert [bool(found["group_is_gone"]) for found in both] == [True, True]


@pytest.mark.parametrize(("slots", "count"), [(2, 2), (5, 2), (7, 3), (12, 5)])
def test_shares_cover_the_batch_in_order_and_differ_by_one_at_most(slots, count):
    shares = [rank(number, count).share(slots) for number in range(count)]
    assert [slot for share in shares for slot in share] == list(range(slots))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_more_processes_than_slots_are_refused():
    with pytest.raises(UsageError, match="batch of 2 cannot be shared by 3 processes") as caught:
        rank(0, 3).share(2)
    assert caught.value.hint == "start at most 2 processes: torchrun --nproc-per-node 2"


def test_a_single_process_exchanges_nothing():
    x, weight = torch.ones(2, requires_grad=True), torch.ones(3)
    assert SINGLE.reduce(x) is x
    SINGLE.reduce_in_place([weight])
    SINGLE.copy_first([weight])
    SINGLE.barrier()
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert (SINGLE.agree(True), SINGLE.agree(False), SINGLE.of_first(0.3)) == (True, False, 0.3)
    assert SINGLE.is_first
    assert SINGLE.share(3) == range(3)


def test_environment_of_torchrun_tells_the_process():
    environment = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_PORT": "29500"}
    assert this_process(environment) == Ranks(rank=5, count=8, local_rank=1)


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "4", "LOCAL_RANK": "0"}])
def test_process_without_a_rank_is_by_itself(environment):
    assert this_process(environment) == SINGLE


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"RANK": "-1"}, "RANK='-1', WORLD_SIZE='2', LOCAL_RANK='0'; all three must be numbers"),
        ({"WORLD_SIZE": ""}, "RANK='0', WORLD_SIZE='', LOCAL_RANK='0'; all three"),
        ({"RANK": "2"}, "process 2 of 2, 0 on its machine: processes are numbered from 0"),
        ({"WORLD_SIZE": "0"}, "process 0 of 0"),
        ({"LOCAL_RANK": "1"}, "process 0 of 2, 1 on its machine"),
    ],
)
def test_impossible_environment_is_refused(changed, message):
    with pytest.raises(UsageError, match=message):
        this_process({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"} | changed)


@pytest.fixture
def second_of_two(monkeypatch):
    """Set the environment of the second of two processes, of which the first is not there."""
    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in (variables | {"MASTER_ADDR": "localhost", "MASTER_PORT": "9"}).items():
        monkeypatch.setenv(name, value)


def test_kind_of_device_that_cannot_work_together_is_refused(second_of_two):
    message = "2 processes cannot train together on devices of kind 'mps'; allowed are cpu, cuda"
    with pytest.raises(UsageError, match=message), open_ranks("mps"):
        pass


def test_more_processes_than_gpus_are_refused(second_of_two, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "process 1 of 2 would take GPU 1; this machine has 1, numbered from 0"
    with pytest.raises(ResourceError, match=message), open_ranks("cuda"):
        pass


def test_others_that_are_not_there_are_named(second_of_two, monkeypatch):
    monkeypatch.setattr(ranks_module, "TIMEOUT", ranks_module.timedelta(seconds=1))
    message = "process 1 of 2: the others cannot be reached"
    with pytest.raises(ResourceError, match=message), open_ranks("cpu"):
        pass


def test_process_by_itself_opens_nothing(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with open_ranks("mps") as ranks:
        assert ranks == SINGLE
        assert not torch.distributed.is_initialized()
