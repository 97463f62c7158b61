"""From a network's record and a topology to a torch module."""
