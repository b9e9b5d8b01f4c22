# The bridge as an image: no root, no shell script, nothing written but /data. See docs/how-to/deploy.md.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY templates templates
COPY cmc_notify cmc_notify
RUN python -m pip wheel --quiet --no-cache-dir --no-deps --wheel-dir /wheel . \
    && python -m venv /opt/cmc-notify \
    && /opt/cmc-notify/bin/python -m pip install --quiet --no-cache-dir --constraint constraints.txt \
        "$(echo /wheel/cmc_notify-*.whl)[postgres,apprise]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/cmc-notify /opt/cmc-notify
COPY config/cmc-notify.yaml /etc/cmc-notify/example.yaml
RUN install -d -o 10001 -g 10001 /data
ENV PATH=/opt/cmc-notify/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CMC_NOTIFY_STORE__URL=sqlite:////data/cmc-notify.db \
    CMC_NOTIFY_HTTP__LISTEN=0.0.0.0:8080
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
# http.client heeds no proxy variable, so the question stays inside the container.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import http.client, os, sys; ask = http.client.HTTPConnection('127.0.0.1', int(os.environ['CMC_NOTIFY_HTTP__LISTEN'].rpartition(':')[2]), timeout=4); ask.request('GET', '/healthz'); sys.exit(ask.getresponse().status != 200)"]
ENTRYPOINT ["cmc-notify"]
CMD ["run"]
