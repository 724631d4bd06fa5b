import os

# Before numpy is first imported, here and in the worker: OpenBLAS's threads spin for a while before they wait, and
# the products are small. One thread also makes training give the same weights on machines with more cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from llmux.tiny_engine._cli import main

if __name__ == "__main__":
    main()
