"""The command line: options become one config value and one call of the pipeline."""
