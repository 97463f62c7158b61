"""From a preprocessed dataset and a plan to a trained, validated fold."""
