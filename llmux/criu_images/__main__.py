"""`python -m llmux.criu_images`."""

from llmux.criu_images._cli import main

if __name__ == "__main__":
    main()
