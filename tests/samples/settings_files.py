"""Settings files for tests: one with every key, and what the surroundings say."""

from __future__ import annotations

from pathlib import Path

from kuramori.settings.loading import SettingsDefaults, parse_settings
from kuramori.settings.model import Settings

DEFAULTS = SettingsDefaults(config_folder=Path("/config"), state_directory=Path("/state"),
                            cache_directory=Path("/cache"), hostname="planter", home=Path("/home/mika"))
FILE = Path("/etc/kuramori/kuramori.toml")

SMALLEST = """
[repositories.usb]
location = "/mnt/usb/backup"
[jobs.planter.components.images]
kind = "files"
source = "/mnt/data/images"
"""

EVERYTHING = """
language = "ja"
state_directory = "state"
cache_directory = "~/cache"

[repositories.usb]
location = "/mnt/usb/{hostname}"
password_file = "secret"
key_hint = "abcd"
compression = "max"
pack_size = 64
max_size = "50G"
cache = false
connections = 3
limit_upload = "500K"
limit_download = 2048
ca_certificates = "ca.pem"
client_certificate = "client.pem"
insecure_tls = true
object_lock_days = 30
environment_file = "usb.env"
[repositories.usb.options]
s3.storage-class = "STANDARD_IA"
"sftp.args" = "-p 2222"
[repositories.usb.environment]
AWS_DEFAULT_REGION = "eu-west-1"
AWS_PORT = 9000
[repositories.usb.environment_keyring]
AWS_SECRET_ACCESS_KEY = "kuramori/aws"
[repositories.usb.maintenance]
location = "/mnt/usb/whole"
password_keyring = "kuramori/maintenance"
environment_file = "maintenance.env"
[repositories.second]
location = "second"
password_command = "pass show 'my backup'"
stale_after = "3d"
run_when_attached = false
check = "0 5 * * 0"
check_days = 60
check_budget = "5G"

[jobs.planter]
repositories = ["usb", "second"]
schedule = "02:00"
cleanup = "0 3 * * 1-5"
hostname = "pot"
before = ["systemctl", "stop", "planter"]
after = [["systemctl", "start", "planter"], ["logger", "done"]]
on_failure = [["logger", "failed"]]
hook_timeout = "5m"
[jobs.planter.components.database]
kind = "sqlite"
source = "/mnt/data/planter.db"
busy_timeout = "2m"
retention_days = 30
[jobs.planter.components."画像"]
kind = "files"
enabled = false
source = ["~/images", "/mnt/data/more"]
exclude = ["*.tmp", "cache/*"]
exclude_caches = true
exclude_if_present = ".nobackup"
exclude_larger_than = "10M"
one_file_system = true
databases = false
max_loss = "50%"
keep_last = 1
keep_hourly = 2
keep_daily = 3
keep_weekly = 4
keep_monthly = 5
keep_yearly = "unlimited"
keep_within = "1y2m3d4h"
keep_within_hourly = "1d"
keep_within_daily = "2d"
keep_within_weekly = "3m"
keep_within_monthly = "4m"
keep_within_yearly = "5y"
keep_tag = ["keep", "a,b"]

[jobs.servers]
repositories = "second"
every = "6h"
[jobs.servers.components.pg]
kind = "postgres"
database = "planter"
host = "/run/postgresql"
port = 5433
user = "mika"
password_file = "/etc/kuramori/pg"
[jobs.servers.components.maria]
kind = "mysql"
defaults_file = "my.cnf"
[jobs.servers.components.packages]
kind = "command"
command = ["dpkg", "--get-selections"]
restore_command = ["dpkg", "--set-selections"]
filename = "packages.txt"

[notify]
apprise = ["ntfy://canary-token@example.org/topic", "json://localhost"]
ping = "https://hc.example.org/canary-ping"
webhook = "https://example.org/hook?key=canary-hook"
[metrics]
listen = ":9470"
"""


def parse(content: str) -> Settings:
    """Return what a text says, as if it were the system's settings file."""
    return parse_settings(content, FILE, DEFAULTS)
