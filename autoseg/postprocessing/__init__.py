"""Rules that clean label maps, and the test that decides whether a rule is kept."""
