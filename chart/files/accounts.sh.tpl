# shellcheck shell=bash
# The accounts of drctl: one that reads, one that restores. The image's entrypoint runs this once, in its own
# shell, when it sets up an empty volume; the passwords come from files and are in no argument.
for drctl_key in app-password backup-password restore-password; do
  # Without it the account would be anybody's.
  [ -s "/run/secrets/database/$drctl_key" ] || { echo "[ERROR] $drctl_key is empty or missing in the credentials" >&2; exit 1; }
done
drctl_quoted() { sed -e 's/\\/\\\\/g' -e "s/'/''/g" "/run/secrets/database/$1"; }
{{- $db := .Values.database }}
{{- $version := include "drctl.database.version" . }}
{{- $everywhere := empty $db.restoreSchemas }}
{{- $read := "SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, RELOAD" }}
{{- $write := "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, LOCK TABLES, CREATE TEMPORARY TABLES" }}
{{- $tamper := "INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE, LOCK TABLES" }}
# Where the image runs this in a shell of its own, root has no password yet.
if ! type docker_process_sql >/dev/null 2>&1; then
  docker_process_sql() { "$(command -v mariadb || command -v mysql)" --no-defaults --user=root --socket=/var/run/mysqld/mysqld.sock; }
fi
docker_process_sql <<SQL
CREATE USER '{{ $db.backupUser }}'@'%' IDENTIFIED BY '$(drctl_quoted backup-password)';
CREATE USER '{{ $db.restoreUser }}'@'%' IDENTIFIED BY '$(drctl_quoted restore-password)';
{{- if eq $db.kind "mysql" }}
{{- if contains "_" $db.schema }}
-- With partial_revokes a name stands for itself, and the image has granted with \_, which is then another schema.
GRANT ALL ON \`{{ $db.schema }}\`.* TO '{{ $db.user }}'@'%';
{{- end }}
GRANT {{ $read }}, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO '{{ $db.backupUser }}'@'%';
GRANT SHOW_ROUTINE, BACKUP_ADMIN ON *.* TO '{{ $db.backupUser }}'@'%';
GRANT PROCESS ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- if $db.restoreAsRoot }}
-- What root has defined needs it to be defined so again; whoever may do that can have root do anything.
GRANT SYSTEM_USER ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
GRANT {{ semverCompare ">=8.2" $version | ternary "SET_ANY_DEFINER" "SET_USER_ID" }}, SESSION_VARIABLES_ADMIN, SHOW_ROUTINE ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- else }}
-- Some images leave one that a server without name resolution ignores, and every backup would warn of.
EXECUTE IMMEDIATE CONCAT('DROP USER IF EXISTS root@\'', @@hostname, '\'');
GRANT {{ $read }}, BINLOG MONITOR ON *.* TO '{{ $db.backupUser }}'@'%';
GRANT PROCESS, SET USER, BINLOG ADMIN ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- if $everywhere }}
GRANT {{ $write }} ON *.* TO '{{ $db.restoreUser }}'@'%';
{{- if eq $db.kind "mysql" }}
-- Whoever can write there owns the server.
REVOKE {{ $tamper }} ON mysql.* FROM '{{ $db.restoreUser }}'@'%';
REVOKE {{ $tamper }} ON sys.* FROM '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- else }}
{{- $own := list "drctl_restore" $db.schema }}
{{- if eq $db.kind "mariadb" }}{{ $own = list "drctl\\_restore" ($db.schema | replace "_" "\\_") }}{{ end }}
{{- range concat $own $db.restoreSchemas | uniq }}
{{- if and (eq $db.kind "mysql") (contains "%" .) }}{{ fail (printf "database.restoreSchemas: %s: MySQL takes no patterns here, as partial_revokes is on; name each schema" .) }}{{ end }}
GRANT {{ $write }} ON \`{{ . }}\`.* TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- if eq $db.kind "mariadb" }}
GRANT SELECT ON mysql.proc TO '{{ $db.restoreUser }}'@'%';
{{- end }}
{{- end }}
SQL
unset -f drctl_quoted
