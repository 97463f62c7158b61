"""How well a segmentation agrees with its reference."""
