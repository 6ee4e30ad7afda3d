"""Whole trainings, drawn at random, in refnet and in PyTorch: float64, both on the CPU, number by number.

    python -m tests.trainings                      # 500 of them
    python -m tests.trainings --count 1 --seed 17  # the one of that seed again

A `recipe` is drawn from a seed: inputs (floats, integers, booleans; vectors or sequences), layers, loss,
optimizer, weights, and what happens between epochs: a layer is frozen, the learning rate, a coefficient
or a dropout rate is set, the weights are overwritten, the model moves to another backend, another model
that shares its first layers predicts or learns. `ours` follows it in refnet, `theirs` in PyTorch, where
the gradients are autograd's and the update rules are written out. Both give the same named numbers:
the loss of every epoch, evaluations, predictions, and all weights.
"""
