# CRIU and pycriu compiled from CRIU's release, with the CUDA plugin that no package has, on a base that has vLLM:
# `docker build --build-arg BASE=... --file docker/criu/from-source.Dockerfile docker/criu`.
# CRIU_SOURCE: a tar that Python's tarfile reads, by http, https or file; CRIU_SHA256: its checksum. Both of 4.2 or newer.
ARG BASE=vllm/vllm-openai:latest

# On the base itself, so that it is linked with the libraries that are there in the end.
FROM ${BASE} AS built
ARG CRIU_SOURCE=https://github.com/checkpoint-restore/criu/archive/refs/tags/v4.2.tar.gz
ARG CRIU_SHA256=0c6e51af878e63df7391e6dffbbe5f0ced429bc9f1e5a603020bfd2503065c39
COPY build-criu fetch_source.py pycriu_modules.py /usr/local/lib/criu-build/
RUN /usr/local/lib/criu-build/build-criu "$CRIU_SOURCE" "$CRIU_SHA256" /opt/criu

FROM ${BASE}
COPY --from=built /opt/criu /opt/criu
# The names by which llmux and CRIU find them without being told: PATH, CRIU's usual directory of plugins, Debian's of Python packages.
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    apt-get update; \
    apt-get install --yes --no-install-recommends $(cat /opt/criu/packages) python3; \
    python3 -c 'import ensurepip' 2> /dev/null || apt-get install --yes --no-install-recommends python3-venv; \
    rm -rf /var/lib/apt/lists/*; \
    mkdir -p /usr/lib/python3/dist-packages; \
    ln -s /opt/criu/sbin/criu /usr/local/bin/criu; \
    ln -s /opt/criu/lib/criu /usr/lib/criu; \
    ln -s /opt/criu/lib/python3/pycriu /usr/lib/python3/dist-packages/pycriu; \
    criu --version; \
    test -e /usr/lib/criu/cuda_plugin.so
ENTRYPOINT []
