"""The multiplexer: which model runs, and the sleeps and wakes that make it so."""
