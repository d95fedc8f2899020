"""What an operator may say of monitoring. Plain data, like settings.py, whose part it is. Sizes are MiB."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from components.model import Model

Port = Annotated[int, Field(ge=1, le=65535)]

# The images of monitoring, by their names in the catalogue; Grafana's is needed where `grafana` is on.
GRAFANA = "grafana"
STORE, EXPORTERS = (
    "prometheus",
    ("node-exporter", "postgres-exporter", "pgbouncer-exporter", "redis-exporter"),
)


class MonitoringSettings(Model):
    """Exporters, the store of their metrics, and Grafana. The two ports are always published on 127.0.0.1 alone."""

    enabled: bool = False
    # Without it: rules, alerts and the store's own page, and a quarter of a GiB less.
    grafana: bool = True
    scrape_interval_seconds: int = Field(default=30, ge=5, le=120)
    # What comes first ends the history: its age, or its size on the disk.
    retention_days: int = Field(default=30, ge=1, le=730)
    retention_size: int = Field(default=2048, ge=256, le=1024 * 1024)
    prometheus_port: Port = 9090
    grafana_port: Port = 3000
    prometheus_memory: int = Field(default=256, ge=128)
    grafana_memory: int = Field(default=256, ge=192)
    # Of each of the four exporters.
    exporter_memory: int = Field(default=48, ge=32)

    @property
    def with_grafana(self) -> bool:
        """Whether there is a Grafana."""
        return self.enabled and self.grafana

    @property
    def total_memory(self) -> int:
        """What the containers may use together, in MiB; 0 where monitoring is off."""
        if not self.enabled:
            return 0
        grafana = self.grafana_memory if self.grafana else 0
        return self.prometheus_memory + grafana + len(EXPORTERS) * self.exporter_memory

    @property
    def ports(self) -> dict[str, int]:
        """The published ports by their keys; none where monitoring is off."""
        if not self.enabled:
            return {}
        return {"prometheusPort": self.prometheus_port} | (
            {"grafanaPort": self.grafana_port} if self.grafana else {}
        )

    @property
    def images(self) -> tuple[str, ...]:
        """The names in the catalogue of the images that are needed."""
        if not self.enabled:
            return ()
        return (*EXPORTERS, STORE, *((GRAFANA,) if self.grafana else ()))

    @model_validator(mode="after")
    def ports_differ(self) -> Self:
        if len(set(self.ports.values())) < len(self.ports):
            raise ValueError(
                f"prometheusPort and grafanaPort are both {self.prometheus_port}; give each its own"
            )
        return self
