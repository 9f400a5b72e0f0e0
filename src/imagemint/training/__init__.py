"""State, step, loop, watch: one honest training loop and the mathematics beside it."""
