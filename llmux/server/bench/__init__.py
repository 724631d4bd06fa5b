"""What a client of a running llmux gets: how fast answers come, how long they wait, what a switch between models takes.

figures.py, switches.py, stream.py   from what was seen to what is told; pure
asking.py                            one request
measuring.py                         many of them: side by side, or one after another with a switch before each
"""
