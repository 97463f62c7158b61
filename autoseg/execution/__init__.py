"""The machine that this process may use, and the pool that works on it."""
