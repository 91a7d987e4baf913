# shellcheck shell=bash
# Creates the accounts of drctl{{ if eq .Values.mode "standby" }}, and that of the application{{ end }}. The image's entrypoint runs this once, in its own shell, when it
# initialises an empty volume. Passwords are read from files and never passed as arguments.
for drctl_key in app-password backup-password restore-password{{ if .Values.stream.enabled }} stream-password{{ end }}{{ if .Values.lease.enabled }} lease-password{{ end }}; do
  # An account without a password would be open to everyone.
  [ -s "/run/secrets/database/$drctl_key" ] || { echo "[ERROR] $drctl_key is empty or missing in the credentials" >&2; exit 1; }
done
drctl_quoted() { sed -e 's/\\/\\\\/g' -e "s/'/''/g" "/run/secrets/database/$1"; }
{{- $db := .Values.database }}
{{- $version := include "drctl.database.version" . }}
{{- $everywhere := empty $db.restoreSchemas }}
{{- $standby := eq .Values.mode "standby" }}
{{- $read := "SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, RELOAD" }}
{{- $write := "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, LOCK TABLES, CREATE TEMPORARY TABLES" }}
{{- $tamper := "INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, LOCK TABLES" }}
# If the image runs this in a separate shell, root has no password yet.
if ! type docker_process_sql >/dev/null 2>&1; then
  docker_process_sql() { "$(command -v mariadb || command -v mysql)" --no-defaults --user=root --socket=/var/run/mysqld/mysqld.sock; }
fi
docker_process_sql <<SQL
CREATE USER '{{ $db.backupUser }}'@'%' IDENTIFIED BY '$(drctl_quoted backup-password)';
CREATE USER '{{ $db.restoreUser }}'@'%' IDENTIFIED BY '$(drctl_quoted restore-password)';
{{- if .Values.stream.enabled }}
CREATE USER '{{ $db.streamUser }}'@'%' IDENTIFIED BY '$(drctl_quoted stream-password)';
GRANT REPLICATION SLAVE, {{ eq $db.kind "mysql" | ternary "REPLICATION CLIENT" "BINLOG MONITOR" }} ON *.* TO '{{ $db.streamUser }}'@'%';
{{- if eq $db.kind "mariadb" }}
-- Lets the account read the creation time of this table, which identifies the server, and none of its rows.
GRANT SHOW VIEW ON mysql.proc TO '{{ $db.streamUser }}'@'%';
{{- end }}
{{- end }}
{{- if .Values.lease.enabled }}
CREATE USER '{{ $db.leaseUser }}'@'%' IDENTIFIED BY '$(drctl_quoted lease-password)';
-- Makes the server read-only, and disconnects clients that hold that up.
GRANT PROCESS, {{ eq $db.kind "mysql" | ternary "SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, SYSTEM_USER" "READ_ONLY ADMIN, CONNECTION ADMIN" }} ON *.* TO '{{ $db.leaseUser }}'@'%';
GRANT SELECT ON {{ eq $db.kind "mysql" | ternary "drctl_restore" "\\`drctl\\_restore\\`" }}.* TO '{{ $db.leaseUser }}'@'%';
{{- end }}
{{- if and $db.restoreAsRoot (or .Values.stream.enabled (include "drctl.regions" .)) }}
-- Lets a restore to a moment make the server a replica of drctl, and reset its GTIDs. A replica executes what its source
-- sends, as root.
GRANT RELOAD, {{ eq $db.kind "mysql" | ternary "REPLICATION CLIENT" "REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, SLAVE MONITOR" }} ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- if eq $db.kind "mysql" }}
GRANT REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- end }}
{{- if .Values.lease.enabled }}
-- promote and demote work on a server that is read-only.
GRANT {{ eq $db.kind "mysql" | ternary "CONNECTION_ADMIN" "READ_ONLY ADMIN, CONNECTION ADMIN" }} ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- if $standby }}
-- Not by the image, which would create the schema: a standby begins with an empty server.
CREATE USER '{{ $db.user }}'@'%' IDENTIFIED BY '$(drctl_quoted app-password)';
GRANT ALL ON \`{{ eq $db.kind "mysql" | ternary $db.schema ($db.schema | replace "_" "\\_") }}\`.* TO '{{ $db.user }}'@'%';
-- It creates the other accounts of the backup, with whatever they may do.
GRANT ALL ON *.* TO '{{ $db.restoreUser }}'@'%' WITH GRANT OPTION;
{{- end }}
{{- if eq $db.kind "mysql" }}
{{- if and (contains "_" $db.schema) (not $standby) }}
-- With partial_revokes a schema name is literal; the image has granted with \_, which then names another schema.
GRANT ALL ON \`{{ $db.schema }}\`.* TO '{{ $db.user }}'@'%';
{{- end }}
GRANT {{ $read }}, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO '{{ $db.backupUser }}'@'%';
GRANT SHOW_ROUTINE, BACKUP_ADMIN ON *.* TO '{{ $db.backupUser }}'@'%';
GRANT PROCESS ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- if $db.restoreAsRoot }}
-- Required to restore objects defined by root. An account with it can run any code as root.
GRANT SYSTEM_USER ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
GRANT {{ semverCompare ">=8.2" $version | ternary "SET_ANY_DEFINER" "SET_USER_ID" }}, SESSION_VARIABLES_ADMIN, SHOW_ROUTINE ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- else }}
-- Some images leave this account. A server without name resolution ignores it, and every backup would warn about it.
EXECUTE IMMEDIATE CONCAT('DROP USER IF EXISTS root@\'', @@hostname, '\'');
GRANT {{ $read }}, BINLOG MONITOR ON *.* TO '{{ $db.backupUser }}'@'%';
GRANT PROCESS, SET USER, BINLOG ADMIN ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- if and $everywhere (not $standby) }}
GRANT {{ $write }} ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- if eq $db.kind "mysql" }}
-- Write access to these schemas gives full control of the server.
REVOKE {{ $tamper }} ON mysql.* FROM '{{ $db.restoreUser }}'@'%';
REVOKE {{ $tamper }} ON sys.* FROM '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- else if not $everywhere }}
{{- $own := list "drctl_restore" $db.schema }}
{{- if eq $db.kind "mariadb" }}{{ $own = list "drctl\\_restore" ($db.schema | replace "_" "\\_") }}{{ end }}
{{- range concat $own $db.restoreSchemas | uniq }}
{{- if and (eq $db.kind "mysql") (contains "%" .) }}{{ fail (printf "database.restoreSchemas: %s: MySQL does not accept wildcards here, because partial_revokes is on; list each schema" .) }}{{ end }}
GRANT {{ $write }} ON \`{{ . }}\`.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- if eq $db.kind "mariadb" }}
GRANT SELECT ON mysql.proc TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- end }}
SQL
unset -f drctl_quoted
