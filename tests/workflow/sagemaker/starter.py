"""The embedded SageMaker alone in a server: ministack and our hooks, nothing else of local/.

Run as a process by the fixtures in conftest.py; the argument is a LocalConfig as JSON.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from local.config import LocalConfig


def main(text: str) -> None:
    config = LocalConfig.from_json(text)
    os.environ.update(
        AUTH="true", AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION=config.region,
        BIND_HOST="127.0.0.1", GATEWAY_PORT=str(config.port), IOT_MTLS_ENABLED="0", SFTP_ENABLED="0",
        LOG_LEVEL="WARNING", MINISTACK_REGION=config.region, S3_PERSIST="1",
        S3_DATA_DIR=str(config.data_dir / "s3"), DOCKER_HOST="unix:///nonexistent",
        AWS_ENDPOINT_URL=config.endpoint_url,
    )
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    from local import sagemaker
    from local.sagemaker import serving

    serving.MIN_HEALTH_TIMEOUT_S = 4.0  # a test of a model that never gets healthy must not take a minute
    sagemaker.register(config)
    settings = Config()
    settings.bind = [f"127.0.0.1:{config.port}"]
    settings.loglevel = "WARNING"
    settings.graceful_timeout = 1
    asyncio.run(_serve(serve, app, settings))


async def _serve(serve, app, settings) -> None:  # type: ignore[no-untyped-def]
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(app, settings, shutdown_trigger=stopping.wait)


if __name__ == "__main__":
    main(sys.argv[1])
