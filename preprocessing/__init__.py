"""From raw images to measured fingerprints and preprocessed cases."""
