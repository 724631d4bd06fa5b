"""Many language models on a few GPUs: `llmux.server` decides which runs, `llmux.criu_images` makes a CRIU dump portable."""
