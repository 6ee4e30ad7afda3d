"""Tensors that know what made them, and back-propagation through that record."""
