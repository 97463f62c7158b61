"""A previous stage's label map as channels."""

import torch

from autoseg.networks.previous import label_channels


def test_each_foreground_label_is_a_channel_of_zeros_and_ones():
    channels = label_channels(torch.tensor([[0, 2, 1], [3, 3, 0]]), 3)
    assert channels.dtype == torch.float32
    assert channels.tolist() == [
        [[0, 0, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [1, 1, 0]],
    ]


def test_bytes_do_not_wrap_at_many_labels():
    label_map = torch.tensor([[0, 255, 7]], dtype=torch.uint8)
    channels = label_channels(label_map, 255)
    assert channels.shape == (255, 1, 3)
    assert channels.sum() == 2
    assert channels[254, 0, 1] == channels[6, 0, 2] == 1


def test_more_than_255_labels_are_told_apart():
    label_map = torch.tensor([[0, 300, 44]], dtype=torch.uint16)
    channels = label_channels(label_map, 300)
    assert channels.sum() == 2
    assert channels[299, 0, 1] == channels[43, 0, 2] == 1
