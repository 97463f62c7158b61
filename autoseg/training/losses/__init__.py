"""Loss functions over logits and label maps."""
