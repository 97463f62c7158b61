"""What a raw dataset says of itself, and which of its files belong together."""
