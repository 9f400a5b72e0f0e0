"""Facts, feed, folder, state, step, loop, watch: one honest training loop and the mathematics beside it."""
