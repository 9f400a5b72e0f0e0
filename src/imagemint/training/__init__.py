"""The training of GANs, and of nothing else: one honest loop, and beside it what it is made of.

loop         the loop, resuming and rolling back
step         the mathematics of one update
state        the networks, optimisers and counters of a training, and their checkpoints
recipe       everything that a person chooses; optimisers.py has the table of optimisers
feed         which images are seen, in which order
diary        what is written while a training goes on
choice       which weights are the best
watch        what is wrong with a training: measure.py looks, rules.py judges
finite       numbers that are not finite
ranks        many processes, one training
"""
