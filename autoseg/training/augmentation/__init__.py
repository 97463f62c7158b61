"""Random changes of training patches: each is drawn first, then applied."""
