"""refnet: neural networks to read."""
