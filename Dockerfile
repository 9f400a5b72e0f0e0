# syntax=docker/dockerfile:1
# The image of imagemint: `docker build -t imagemint .`, then `docker run imagemint --help`.
# With CUDA:  docker build --build-arg PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cu128" -t imagemint:cuda .
# and run it with `--gpus all`: PyTorch's wheels bring the CUDA libraries, the host brings the driver.
# tests/test_deploy.py runs the RUN lines of both stages in a folder of its own, in order.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# Where torch comes from, and what else the image can do.
ARG PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
ARG EXTRAS=hub,track
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/imagemint
RUN /opt/imagemint/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN /opt/imagemint/bin/python -m pip install --no-cache-dir ${PIP_FLAGS} -c constraints.txt "$(ls /wheels/imagemint-*.whl)[${EXTRAS}]"

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="imagemint" \
      org.opencontainers.image.description="Mint labelled images from a small data set, and learn honestly whether they help" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/imagemint /opt/imagemint
RUN useradd --create-home --uid 1000 mint
USER 1000
WORKDIR /home/mint
# Threads that wait do not spin: they would take the processor from whatever runs beside them.
ENV PATH=/opt/imagemint/bin:$PATH OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1
RUN imagemint --version
STOPSIGNAL SIGTERM
ENTRYPOINT ["imagemint"]
CMD ["--help"]
