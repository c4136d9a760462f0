# The page that shows what finished runs see in photos and videos:
#   docker build --tag streetlab .
#   docker run --read-only --tmpfs /tmp --publish 127.0.0.1:8000:8000 --volume "$PWD/outputs:/streetlab/outputs:ro" streetlab
# Another command: docker run ... streetlab runs. It writes below /tmp and /streetlab/outputs alone, as user 10001.

# cpu, or cuda for machines with the NVIDIA container toolkit (docker run --gpus all)
ARG DEVICE=cpu

FROM python:3.11-slim-bookworm AS build
ARG DEVICE
# The address of a package index with CPU builds of torch makes the image several GB smaller. Without one, the package
# index's own build is taken, which has CUDA and runs on processors too.
ARG TORCH_INDEX=
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY conf conf
COPY src src
RUN python -m venv /opt/streetlab \
    && if [ "$DEVICE" = cpu ] && [ -n "$TORCH_INDEX" ]; then \
         /opt/streetlab/bin/pip install --no-cache-dir --no-deps --constraint constraints.txt \
           --index-url "$TORCH_INDEX" torch torchvision; \
       fi \
    && /opt/streetlab/bin/pip install --no-cache-dir --constraint constraints.txt '.[app,video,export]'

FROM python:3.11-slim-bookworm AS cpu
COPY --from=build /opt/streetlab /opt/streetlab
# the root may be read-only: whatever libraries cache goes below /tmp
ENV PATH=/opt/streetlab/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /streetlab
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8000/')"]
ENTRYPOINT ["streetlab"]
CMD ["app", "host=0.0.0.0"]

FROM cpu AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# hadolint ignore=DL3006
FROM ${DEVICE}
