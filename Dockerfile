# The device server: queue_connector in a virtual environment, run by an unprivileged user.

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY queue_connector queue_connector
# The environment has no pip of its own, and none of the tests that numpy brings along.
RUN python -m venv --without-pip /opt/queue-connector \
    && pip --python /opt/queue-connector/bin/python install --no-cache-dir -c constraints.txt . \
    && find /opt/queue-connector -type d -name tests -prune -exec rm -rf {} +

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin connector
COPY --from=build /opt/queue-connector /opt/queue-connector
ENV PATH=/opt/queue-connector/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
# Where the device serves pages, QUEUE_CONNECTOR_METRICS_PORT says so: it is asked whether it lives.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-m", "queue_connector.observability.healthcheck"]
# The server is process 1: it heeds SIGTERM from its first line on, and starts no processes that
# somebody would have to reap. So there is no other program before it.
STOPSIGNAL SIGTERM
# The argument is the Tango server's instance name, then its options.
ENTRYPOINT ["SDPQueueConnector"]
CMD ["01"]
