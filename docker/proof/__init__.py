"""The parts of the success test: containers, llmux's HTTP API seen from outside, and the story that is told with them.

Standard library only: the success test runs on any host with Python, Docker and the project's image. The integration tests
tell their own stories with the same parts.
"""
