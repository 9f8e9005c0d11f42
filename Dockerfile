# The gateway without a model: it talks HTTP to a model server. The root file system may be
# read-only; all state is in /data. Callers need a key, because it listens on every address:
#   docker run --read-only --volume verivote:/data IMAGE keys create --tenant me
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY verifiers verifiers
COPY migrations migrations
RUN python -m venv /opt/verivote \
 && /opt/verivote/bin/pip install --no-cache-dir --constraint constraints.txt ".[math]" \
 && /opt/verivote/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin verivote \
 && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/verivote /opt/verivote
ENV PATH=/opt/verivote/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VERIVOTE__DATA=/data \
    VERIVOTE__SERVER__HOST=0.0.0.0 \
    VERIVOTE__SERVER__KEYS=required
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["verivote"]
CMD ["serve"]
