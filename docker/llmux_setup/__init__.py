"""What `make setup`, `make demo`, `make test` and `make clean` do; the standard library only, since nothing is installed yet."""
