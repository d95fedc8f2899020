"""Text of what monitoring reads: the store's configuration, Grafana's, and who may look at PostgreSQL, PgBouncer and Redis."""

import hashlib
import hmac
import json
from pathlib import Path

import yaml

from components.monitoring_settings import MonitoringSettings

# What these hold goes to the host as it is: rules with their alerts, and Grafana's dashboards.
RULES, DASHBOARDS = Path(__file__).parents[1] / "rules", Path(__file__).parents[1] / "dashboards"

# Looks at PostgreSQL and PgBouncer over their sockets alone: it has no password.
ROLE = "platform_monitor"
# The exporters' user in their images, by whom the two servers know them (uid 65534 has this name in their images as well).
OS_USER = "nobody"
IDENT_MAP = "monitor"
REDIS_USER = "monitor"
REDIS_ADDRESS = "redis-cache:6379"

# Where the containers see it.
PROMETHEUS_DIR, GRAFANA_DIR, REDIS_DIR = "/etc/prometheus", "/etc/grafana", "/etc/redis-exporter"
GRAFANA_SECRETS = "/run/grafana-secrets"
TEXTFILES = "/textfiles"
# By container: the port on which it tells its metrics.
EXPORTER_PORTS = {
    "node-exporter": 9100,
    "postgres-exporter": 9187,
    "pgbouncer-exporter": 9127,
    "redis-exporter": 9121,
}
STORE_PORT, GRAFANA_PORT = 9090, 3000
# By which the dashboards know the store.
DATASOURCE_UID = "platform-prometheus"


def prometheus_yml(settings: MonitoringSettings) -> str:
    """prometheus.yml (https://prometheus.io/docs/prometheus/latest/configuration/configuration/)."""
    interval = f"{settings.scrape_interval_seconds}s"
    targets = {**EXPORTER_PORTS, "prometheus": STORE_PORT}
    value = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": f"{min(10, settings.scrape_interval_seconds)}s",
            "evaluation_interval": interval,
        },
        "rule_files": [f"{PROMETHEUS_DIR}/rules/*.yml"],
        "scrape_configs": [
            {
                "job_name": name.removesuffix("-exporter"),
                "static_configs": [
                    {"targets": [f"{name}:{port}" if name in EXPORTER_PORTS else f"localhost:{port}"]}
                ],
            }
            for name, port in targets.items()
        ],
    }
    return "# Made by Pulumi. A change replaces the container.\n" + yaml.safe_dump(value, sort_keys=False)


def grafana_ini() -> str:
    """grafana.ini: nothing leaves the host, nobody looks without the password, and nothing is kept but what stands in files."""
    return f"""\
# Made by Pulumi. A change replaces the container.
[server]
http_port = {GRAFANA_PORT}
[security]
admin_user = admin
admin_password = $__file{{{GRAFANA_SECRETS}/admin-password}}
disable_gravatar = true
cookie_samesite = strict
[users]
allow_sign_up = false
[auth.anonymous]
enabled = false
[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false
feedback_links_enabled = false
[news]
news_feed_enabled = false
[plugins]
preinstall_disabled = true
plugin_admin_enabled = false
[unified_alerting]
enabled = false
[log]
mode = console
level = warn
[dashboards]
default_home_dashboard_path = {GRAFANA_DIR}/dashboards/overview.json
"""


def datasources_yml(settings: MonitoringSettings) -> str:
    """The store as Grafana's only source (https://grafana.com/docs/grafana/latest/administration/provisioning/).

    Its interval is what $__rate_interval is made of. Grafana takes it for 15 s otherwise, and from 60 s on no rate has two samples.
    """
    return f"""\
apiVersion: 1
prune: true
datasources:
  - name: Prometheus
    uid: {DATASOURCE_UID}
    type: prometheus
    access: proxy
    url: http://prometheus:{STORE_PORT}
    isDefault: true
    editable: false
    jsonData:
      timeInterval: {settings.scrape_interval_seconds}s
"""


def dashboards_yml() -> str:
    """Where Grafana finds the dashboards; changed files are taken over by themselves."""
    return f"""\
apiVersion: 1
providers:
  - name: platform
    folder: Central data platform
    type: file
    disableDeletion: true
    allowUiUpdates: false
    updateIntervalSeconds: 60
    options:
      path: {GRAFANA_DIR}/dashboards
"""


def store_files(settings: MonitoringSettings) -> dict[str, str]:
    """The store's files by their paths below its folder."""
    rules = {f"rules/{path.name}": path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.yml"))}
    return {"prometheus.yml": prometheus_yml(settings), **rules}


def grafana_files(settings: MonitoringSettings) -> dict[str, str]:
    """Grafana's files by their paths below its folder, without the dashboards."""
    return {
        "grafana.ini": grafana_ini(),
        "provisioning/datasources/platform.yml": datasources_yml(settings),
        "provisioning/dashboards/platform.yml": dashboards_yml(),
    }


def dashboard_files() -> dict[str, str]:
    """The dashboards by their paths below Grafana's folder."""
    return {
        f"dashboards/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted(DASHBOARDS.glob("*.json"))
    }


def monitoring_env(settings: MonitoringSettings) -> str:
    """monitoring.env: what status.sh has to know."""
    return f"# Made by Pulumi.\nPROMETHEUS_PORT={settings.prometheus_port}\n"


def digest(files: dict[str, str]) -> str:
    """Another text as soon as one of the files is another."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def role_sql(*, enabled: bool) -> str:
    """The role that looks at PostgreSQL, or that there is none.

    pg_monitor shows statistics and settings, and no row of a table
    (https://www.postgresql.org/docs/17/predefined-roles.html).
    """
    if not enabled:
        return f"""\
-- Monitoring is off.
SELECT format('DROP OWNED BY %1$I; DROP ROLE %1$I', rolname) FROM pg_roles WHERE rolname = '{ROLE}' \\gexec
"""
    return f"""\
-- Monitoring.
SELECT 'CREATE ROLE {ROLE}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
ALTER ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT 5;
ALTER ROLE {ROLE} SET statement_timeout = '10s';
ALTER ROLE {ROLE} SET default_transaction_read_only = on;
GRANT pg_monitor TO {ROLE};
GRANT CONNECT ON DATABASE postgres TO {ROLE};
"""


def ident_line() -> str:
    """That the exporters' user may be the role, and nobody else."""
    return f"{IDENT_MAP:8}  {OS_USER:8}  {ROLE}\n"


def redis_password(salt_key: str) -> str:
    """The password of Redis' user for the exporter; it stands in one file of the host."""
    return hmac.digest(salt_key.encode(), f"redis:{REDIS_USER}".encode(), "sha256").hex()


def redis_rules(salt_key: str) -> str:
    """That user's rules: counters of the server, and no key, channel, setting or argument of anybody's command."""
    known = hashlib.sha256(redis_password(salt_key).encode()).hexdigest()
    allowed = "+ping +info +slowlog|len +latency|latest +latency|histogram"
    return f"on sanitize-payload #{known} resetchannels -@all {allowed}"


def redis_password_file(salt_key: str) -> str:
    """What redis_exporter reads (its README, "--redis.password-file"): a password by the server's address."""
    return json.dumps({f"redis://{REDIS_USER}@{REDIS_ADDRESS}": redis_password(salt_key)}) + "\n"
