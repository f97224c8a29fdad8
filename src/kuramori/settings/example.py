"""A settings file that explains itself, in the user's language.

What begins with ``# `` is a comment; what begins with ``#`` and a key is a setting with an example
of a value, switched off. So the file can be read as it is, and with every setting switched on.
"""

from __future__ import annotations

from collections.abc import Callable

from kuramori.errors import N_

_Line = str | tuple[str, str]
"""A comment, which is translated, or a line of TOML and the comment behind it."""

_EXAMPLE: tuple[_Line, ...] = (
    N_("The settings of kuramori: what to protect, where to keep it, and when."),
    N_("kuramori settings check says whether everything is right here."),
    ("", ""),
    ('#language = "{language}"', N_("of messages and notices; without it, that of the system")),
    ('#state_directory = "/var/lib/kuramori"', N_("history and due times; without it, the user's or the system's")),
    ('#cache_directory = "/var/cache/kuramori"', N_("copies of what lies in remote repositories")),
    ("", ""),
    N_("Where backups are kept. The password: a file is made for it by kuramori init if none is named here."),
    N_("Keep a copy of the password elsewhere: without it nobody can read the backups."),
    ("[repositories.usb]", ""),
    ('location = "/mnt/usb-storage/backup"',
     N_("{{hostname}} in it becomes the job's hostname, or this machine's name")),
    ('#password_file = "/etc/kuramori/password"', N_("0600; or password_command, a command that prints it")),
    ('#key_hint = "4bd85c05"', N_("the key to try first")),
    ('#compression = "auto"', N_("auto, off, fastest, better, max")),
    ("#pack_size = 16", N_("MiB, 4 to 128")),
    ('#max_size = "50G"', N_("a cleanup removes the oldest runs to stay under it")),
    ("#cache = true", N_("keep local copies where the repository is remote")),
    ("#run_when_attached = true", N_("for a disk that comes and goes: its jobs run when it comes")),
    ('check = "05:00"', N_("when a part of it is read back; without it, by kuramori check only")),
    ("#check_days = 30", N_("each part is read within so many days")),
    ('#check_budget = "5G"', N_("no more is read in a day; without it, what the days ask for")),
    ('#stale_after = "7d"', N_("you are told when it has lacked runs for so long")),
    ("", ""),
    N_("A second one, for a copy in another place. password_command can ask a password manager."),
    ("[repositories.elsewhere]", ""),
    ('location = "/mnt/another-disk/backup"', ""),
    ('#password_command = "pass show kuramori"', N_('or password_keyring = "service/user", of the system\'s keyring')),
    ("#connections = 5", N_("how many files are sent and fetched at once")),
    ('#limit_upload = "500K"', N_("bytes in a second")),
    ('#limit_download = "2M"', ""),
    ('#options = { "s3.storage-class" = "STANDARD_IA" }', N_("of the store, as -o has them")),
    ('#environment = { AWS_DEFAULT_REGION = "eu-west-1" }', N_("for the store, by restic's names")),
    ('#environment_file = "/etc/kuramori/elsewhere.env"', N_("secret ones in lines NAME=value; 0600")),
    ('#environment_keyring = { AWS_SECRET_ACCESS_KEY = "kuramori/aws" }', N_("or service/user of the keyring")),
    ('#ca_certificates = "/etc/kuramori/ca.pem"', N_("to judge servers by, in place of the system's")),
    ('#client_certificate = "/etc/kuramori/client.pem"', N_("a certificate and its key, to show to servers")),
    ("#insecure_tls = false", N_("do not judge the certificates of servers; dangerous")),
    ("#object_lock_days = 30", N_("object stores refuse to delete what is younger")),
    ("", ""),
    N_("What a cleanup uses instead, where backups may add but not delete."),
    ("#[repositories.elsewhere.maintenance]", ""),
    ('#location = "/mnt/another-disk/backup"', N_("another way to the same repository")),
    ('#environment_file = "/etc/kuramori/maintenance.env"', ""),
    ('#password_file = "/etc/kuramori/maintenance-password"', N_("of another key")),
    ("", ""),
    N_("A job: components that are saved together."),
    ("[jobs.planter]", ""),
    ('repositories = ["usb", "elsewhere"]', N_("the first is backed up to, the others receive copies")),
    ('schedule = "02:00"', N_('or cron, "30 2 * * 1-5"; or every = "6h" instead of schedule')),
    ('cleanup = "03:00"', N_("when what is too old goes; without it, by kuramori cleanup only")),
    ('#hostname = "planter"', N_("the name in the snapshots; without it, this machine's")),
    ('#before = ["systemctl", "stop", "planter"]', N_("a command as a list of words, or a list of such lists")),
    ('#after = ["systemctl", "start", "planter"]', N_("runs also when the backup failed")),
    ('#on_failure = [["logger", "the backup failed"]]', ""),
    ('#hook_timeout = "1h"', N_("how long each of them may take")),
    ("", ""),
    N_("An SQLite database: saved as it is at one instant, while programs use it."),
    ("[jobs.planter.components.database]", ""),
    ('kind = "sqlite"', ""),
    ('source = "/mnt/usb-storage/smart_planter.db"', ""),
    ("retention_days = 30", N_("and/or keep_last, keep_daily, ... as below")),
    ('#busy_timeout = "60s"', N_("how long to wait for a database that another program holds")),
    ("", ""),
    N_("Files and folders. SQLite databases among them are saved as databases."),
    ("[jobs.planter.components.images]", ""),
    ('kind = "files"', ""),
    ('source = "/mnt/usb-storage/images"', N_("or a list of paths")),
    ("retention_days = 90", ""),
    ("#enabled = false", N_("leave it out for now")),
    ('#exclude = ["*.tmp", "cache/*"]', ""),
    ("#exclude_caches = true", N_("folders that are marked by a CACHEDIR.TAG")),
    ('#exclude_if_present = [".nobackup"]', ""),
    ('#exclude_larger_than = "1G"', ""),
    ("#one_file_system = true", N_("do not go into other disks")),
    ("#databases = false", N_("save SQLite databases like any other file")),
    ("#max_loss = 0.9", N_("fail if more than this part has vanished since the last run; 1 for never")),
    ("#keep_last = 3", N_("these keep what retention_days would remove; the newest always stays")),
    ("#keep_hourly = 24", ""),
    ("#keep_daily = 7", ""),
    ("#keep_weekly = 5", ""),
    ("#keep_monthly = 12", ""),
    ('#keep_yearly = "unlimited"', ""),
    ('#keep_within = "14d"', N_("all of the last 14 days; units are y, m, d, h")),
    ('#keep_within_hourly = "2d"', ""),
    ('#keep_within_daily = "1m"', ""),
    ('#keep_within_weekly = "3m"', ""),
    ('#keep_within_monthly = "1y"', ""),
    ('#keep_within_yearly = "10y"', ""),
    ('#keep_tag = ["keep"]', ""),
    ("", ""),
    N_("Database servers: postgres, and mysql for MySQL and MariaDB. Passwords only by files, 0600."),
    ("#[jobs.planter.components.measurements]", ""),
    ('#kind = "postgres"', ""),
    ('#database = "planter"', N_("without it, all of them")),
    ('#host = "/run/postgresql"', N_("without these, what the tools take by themselves")),
    ("#port = 5432", ""),
    ('#user = "postgres"', ""),
    ('#password_file = "/etc/kuramori/postgres-password"', N_("or defaults_file, a .pgpass or an option file")),
    ("#retention_days = 30", ""),
    ("", ""),
    ("#[jobs.planter.components.shop]", ""),
    ('#kind = "mysql"', ""),
    ('#defaults_file = "/etc/mysql/debian.cnf"', ""),
    ("", ""),
    N_("The output of a command."),
    ("#[jobs.planter.components.packages]", ""),
    ('#kind = "command"', ""),
    ('#command = ["dpkg", "--get-selections"]', ""),
    ('#restore_command = ["dpkg", "--set-selections"]', N_("takes that output again; may be left out")),
    ('#filename = "packages.txt"', ""),
    ("", ""),
    N_("Whom to tell when a run fails, and when it works again. This file must be 0600 then."),
    ("#[notify]", ""),
    ('#apprise = ["ntfy://ntfy.example.org/my-backups"]', N_("addresses of Apprise: mail, LINE, Discord, ...")),
    ('#ping = "https://hc-ping.example.org/your-id"', N_("told of start, success and failure")),
    ('#webhook = "https://example.org/backup-hook"', N_("receives JSON")),
    ("", ""),
    N_("Where the daemon answers with Prometheus metrics."),
    ("#[metrics]", ""),
    ('#listen = "127.0.0.1:9470"', ""),
)


def render_example(translate: Callable[[str], str], language: str) -> str:
    """Return the example.

    Args:
        translate: maps a text to the user's language.
        language: what the example's ``language`` says.
    """
    lines = []
    for line in _EXAMPLE:
        if isinstance(line, str):
            lines.append(f"# {translate(line)}")
            continue
        setting, comment = line[0].replace("{language}", language), line[1]
        said = translate(comment).replace("{{", "{").replace("}}", "}") if comment else ""
        lines.append(f"{setting:<48}# {said}" if said else setting)
    return "\n".join(lines) + "\n"
