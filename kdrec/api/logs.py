"""What the service logs, for people or for machines."""

import logging
from typing import Any

from kdrec.api.observation import request_id
from kdrec.api.settings import LogFormat

_TEXT = "%(asctime)s %(levelname)s [%(request_id)s] %(message)s"
_JSON = "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s"


class RequestIdFilter(logging.Filter):
    """Gives every record the id of the request during which it was made."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get()
        return True


def logging_config(log_format: LogFormat, *, access: bool) -> dict[str, Any]:
    """For `logging.config.dictConfig`, in every worker.

    Args:
        log_format: Of the lines.
        access: Whether every request has one.
    """
    formatters = {
        LogFormat.TEXT: {"format": _TEXT},
        LogFormat.JSON: {"()": "pythonjsonlogger.json.JsonFormatter", "fmt": _JSON},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": formatters[log_format]},
        "filters": {"request": {"()": RequestIdFilter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "chosen",
                "filters": ["request"],
            }
        },
        "loggers": {
            "kdrec": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "kdrec.access": {"level": "INFO" if access else "WARNING"},
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        },
    }
