"""Which model runs, when: pure functions of a snapshot to decisions, the same in the server and in the simulator."""
