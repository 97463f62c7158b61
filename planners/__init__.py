"""From a fingerprint to a plan: closed-form rules, each value with its decision."""
