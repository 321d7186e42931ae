# The device server: queue_connector in a virtual environment, run by an unprivileged user.

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY queue_connector queue_connector
RUN python -m venv /opt/queue-connector \
    && /opt/queue-connector/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin connector
COPY --from=build /opt/queue-connector /opt/queue-connector
ENV PATH=/opt/queue-connector/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
# The argument is the Tango server's instance name, then its options.
ENTRYPOINT ["SDPQueueConnector"]
CMD ["01"]
