import pytest
import torch

from autoseg.training.ledger import META, Ledger


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device=META)


def test_views_take_nothing_and_what_is_dropped_is_given_back():
    with Ledger(1) as ledger:
        kept = empty(3, 5)  # 15 x 4 bytes
        part = kept[1:]
        del kept  # the view still needs all of it
        product = part * 2  # 10 x 4 bytes
        del part
        empty(7)  # 7 x 4 bytes
    assert ledger.moments == [60, 60, 100, 68]
    assert product.shape == (2, 5)


def test_storages_are_rounded_up_to_blocks():
    with Ledger(512) as ledger:
        tensors = [empty(128), empty(129)]  # 512 and 516 bytes
    assert ledger.moments == [512, 512 + 1024]
    assert [ledger.size(tensor) for tensor in tensors] == [512, 1024]


def test_tensors_from_before_are_counted_once_held():
    before = empty(4, 2, dtype=torch.int64)
    values = (before, before.view(8), None, [before[0]])
    with Ledger(1) as ledger:
        ledger.hold(values)
        product = before * 2
    assert ledger.moments == [64 + 64]
    assert product.dtype == torch.int64


def test_tensors_elsewhere_do_not_count():
    with Ledger(1) as ledger:
        real = torch.zeros(100)
    assert ledger.moments == [0]
    assert ledger.size(real) == 0


@pytest.mark.parametrize(
    ("order", "copies"),
    [
        pytest.param(torch.contiguous_format, 0, id="contiguous"),
        pytest.param(torch.channels_last_3d, 2 * 6 * 7 * 8 * 5, id="channels-last"),
    ],
)
def test_convolution_copies_its_input_into_the_order_of_the_weights(order, copies):
    image = empty(2, 5, 6, 7, 8)
    weight = empty(4, 5, 3, 3, 3).to(memory_format=order)
    with Ledger(1) as ledger:
        ledger.hold((image, weight))
        output = torch.conv3d(image, weight, padding=1)
    tensors = 4 * (image.numel() + weight.numel() + 2 * 4 * 6 * 7 * 8)
    assert ledger.moments == [tensors + 4 * copies]
    assert output.is_contiguous(memory_format=order)


def test_gradient_of_a_convolution_copies_input_and_gradient():
    image = empty(2, 5, 6, 8).requires_grad_()
    weight = empty(4, 5, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    with Ledger(1) as ledger:
        ledger.hold((image, weight))
        output = torch.conv2d(image, weight, padding=1)
        slope = torch.empty_like(output, memory_format=torch.contiguous_format)
        output.backward(slope)
    values = 2 * (image.numel() + weight.numel() + output.numel())  # and a gradient of each
    assert ledger.moments[2] == 4 * (values + image.numel() + output.numel())
    assert weight.grad.stride() == weight.stride()


def test_repeated_operators_give_new_tensors_each_time():
    with Ledger(1) as ledger:
        values = empty(2, 3, 4, 4)
        sizes = []
        results = []
        for _ in range(3):
            results.append(torch.nn.functional.batch_norm(values, None, None, training=True))
            sizes.append(ledger.moments[-1])
    assert len({id(result.untyped_storage()) for result in results}) == 3
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == 4 * 96


def test_numbers_elsewhere_stay_what_they_are():
    with Ledger(1):
        sums = [torch.add(torch.tensor([2.0]), torch.tensor([k])) for k in (3.0, 5.0)]
    assert torch.equal(torch.cat(sums), torch.tensor([5.0, 7.0]))


def test_repeated_operators_are_told_apart_by_type():
    with Ledger(1) as ledger:
        values = empty(10), empty(10, dtype=torch.float64)
        sums = [value + value for value in values]
    assert [value.dtype for value in sums] == [torch.float32, torch.float64]
    assert ledger.moments == [40, 120, 160, 240]
