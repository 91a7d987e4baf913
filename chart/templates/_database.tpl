{{/* Properties of the database, deployed by the chart or existing. */}}

{{- define "drctl.database.own" -}}
{{- if has .Values.database.kind (list "mysql" "mariadb") }}true{{ end -}}
{{- end -}}

{{/* Whether there is a server: not where the source is of another kind. */}}
{{- define "drctl.database.any" -}}
{{- if ne .Values.database.kind "none" }}true{{ end -}}
{{- end -}}

{{/* The accounts and the image of drills depend on it: a tag of another release series is an error. */}}
{{- define "drctl.database.version" -}}
{{- $db := .Values.database -}}
{{- $tagged := regexFind "^[0-9]+\\.[0-9]+" (toString $db.image.tag) -}}
{{- if and $db.version $tagged (ne $db.version $tagged) -}}
{{- fail (printf "database.version is %s, but database.image.tag is of version %s" $db.version $tagged) -}}
{{- end -}}
{{- $db.version | default $tagged | default (eq $db.kind "mysql" | ternary "9.7" "11.8") -}}
{{- end -}}

{{- define "drctl.database.image" -}}
{{- $image := .Values.database.image -}}
{{ include "drctl.fromRegistry" (list . ($image.repository | default .Values.database.kind)) }}:{{ $image.tag | default (include "drctl.database.version" .) }}
{{- end -}}

{{- define "drctl.database.service" -}}
{{ include "drctl.fullname" . }}-database
{{- end -}}

{{- define "drctl.database.host" -}}
{{- if not (include "drctl.database.own" .) -}}
{{- required "database.existing.host: required if database.kind is existing: the server's host name" .Values.database.existing.host -}}
{{- else if and .Values.backupNetwork.enabled .Values.backupNetwork.databaseAddress -}}
{{- .Values.backupNetwork.databaseAddress | splitList "/" | first -}}
{{- else -}}
{{- include "drctl.database.service" . }}.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end -}}

{{- define "drctl.database.port" -}}
{{- if include "drctl.database.own" . }}3306{{ else }}{{ .Values.database.existing.port }}{{ end -}}
{{- end -}}

{{/* The URL of the server for an account: (list . user). */}}
{{- define "drctl.database.url" -}}
{{- $ := index . 0 -}}
{{- $parameters := $.Values.database.existing.parameters -}}
{{- if include "drctl.database.own" $ -}}
{{- $parameters = empty (include "drctl.database.tls" $) | ternary "" "tls=verify&ca=/run/secrets/database-tls/ca.crt" -}}
{{- end -}}
{{- $host := include "drctl.database.host" $ -}}
{{- if and (contains ":" $host) (not (hasPrefix "[" $host)) }}{{ $host = printf "[%s]" $host }}{{ end -}}
mysql://{{ index . 1 }}@{{ $host }}:{{ include "drctl.database.port" $ }}{{ with $parameters }}/?{{ . }}{{ end }}
{{- end -}}

{{/* Separate accounts, none of them root: the restore account has privileges that the others must not have. */}}
{{- define "drctl.database.accounts" -}}
{{- $db := .Values.database -}}
{{- $names := list $db.user $db.backupUser $db.restoreUser $db.streamUser $db.leaseUser -}}
{{- if or (ne (len (uniq $names)) 5) (has "root" $names) -}}
{{- fail (printf "database.user, backupUser, restoreUser, streamUser and leaseUser: %s: the names must be different and none of them root" (join ", " $names)) -}}
{{- end -}}
{{- end -}}

{{/* The keys of the passwords that the chart's database needs, as a list. */}}
{{- define "drctl.credentials.keys" -}}
{{- concat (list "root-password" "app-password" "backup-password" "restore-password") (.Values.stream.enabled | ternary (list "stream-password") list) (.Values.lease.enabled | ternary (list "lease-password") list) | toJson -}}
{{- end -}}

{{/*
The Secret with a password: (list . "key"). That of the streamer and that of the lease keeper have one each where the chart
generates them, because the Secret with the others is immutable and may be older.
*/}}
{{- define "drctl.credentials.of" -}}
{{- $ := index . 0 -}}
{{- $credentials := $.Values.database.credentials -}}
{{- if or $credentials.existingSecret $credentials.externalSecret.enabled (not (include "drctl.database.own" $)) (not (has (index . 1) (list "stream-password" "lease-password"))) -}}
{{- include "drctl.credentials" $ -}}
{{- else -}}
{{- include "drctl.fullname" $ }}-{{ trimSuffix "-password" (index . 1) }}
{{- end -}}
{{- end -}}

{{/* The Secret with the passwords. */}}
{{- define "drctl.credentials" -}}
{{- $own := or (include "drctl.database.own" .) .Values.database.credentials.externalSecret.enabled -}}
{{- if not (or $own .Values.database.credentials.existingSecret .Values.database.credentials.secretProviderClass) -}}
{{- fail "database.credentials.existingSecret: required if database.kind is existing: a Secret with backup-password and restore-password" -}}
{{- end -}}
{{- .Values.database.credentials.existingSecret | default (printf "%s-database" (include "drctl.fullname" .)) -}}
{{- end -}}

{{/* The source of the passwords, for messages. */}}
{{- define "drctl.credentials.name" -}}
{{- with .Values.database.credentials.secretProviderClass }}the SecretProviderClass {{ . }}{{ else }}the Secret {{ include "drctl.credentials" . }}{{ end -}}
{{- end -}}

{{/* The volume with the passwords of a pod: (list . "key"…). */}}
{{- define "drctl.credentials.volume" -}}
{{- $ := index . 0 -}}
- name: credentials
  {{- with $.Values.database.credentials.secretProviderClass }}
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ . }}
  {{- else }}
  {{- /* A missing key is reported by the program that needs it; otherwise the pod would wait forever without any log. */}}
  {{- $keys := dict }}
  {{- $secrets := list }}
  {{- range $key := slice . 1 }}
  {{- $secret := include "drctl.credentials.of" (list $ $key) }}
  {{- $_ := set $keys $secret (append (get $keys $secret | default list) $key) }}
  {{- $secrets = append $secrets $secret | uniq }}
  {{- end }}
  {{- if gt (len $secrets) 1 }}
  projected:
    defaultMode: 0440
    sources:
      {{- range $secret := $secrets }}
      - secret:
          name: {{ $secret }}
          optional: true
          items:
            {{- range get $keys $secret }}
            - {key: {{ . }}, path: {{ . }}}
            {{- end }}
      {{- end }}
  {{- else }}
  secret:
    secretName: {{ first $secrets }}
    defaultMode: 0440
    optional: true
    items:
      {{- range get $keys (first $secrets) }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Whether the chart's database has a certificate that can be verified. */}}
{{- define "drctl.database.tls" -}}
{{- if and (include "drctl.database.own" .) .Values.database.tls.enabled }}true{{ end -}}
{{- end -}}

{{- define "drctl.database.tls.secret" -}}
{{- .Values.database.tls.existingSecret | default (printf "%s-tls" (include "drctl.database.service" .)) -}}
{{- end -}}

{{- define "drctl.database.tls.mount" -}}
- {name: database-tls, mountPath: /run/secrets/database-tls, readOnly: true}
{{- end -}}

{{/* (list . "key"…). */}}
{{- define "drctl.database.tls.volume" -}}
- name: database-tls
  secret:
    secretName: {{ include "drctl.database.tls.secret" (index . 0) }}
    defaultMode: 0440
    items:
      {{- range slice . 1 }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end -}}

{{/* Host names of the server, as a list. */}}
{{- define "drctl.database.names" -}}
{{- $names := list -}}
{{- range $service := list (include "drctl.database.service" .) (printf "%s-headless" (include "drctl.database.service" .)) -}}
{{- range $end := list "" (printf ".%s" $.Release.Namespace) (printf ".%s.svc" $.Release.Namespace) (printf ".%s.svc.cluster.local" $.Release.Namespace) -}}
{{- $names = append $names (printf "%s%s" $service $end) -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{- define "drctl.database.claim" -}}
{{- .Values.database.storage.existingClaim | default (printf "data-%s-0" (include "drctl.database.service" .)) -}}
{{- end -}}

{{/* The option file: durable writes, and a binary log for the coordinates of a backup and for the streamer. */}}
{{- define "drctl.database.options" -}}
[mysqld]
server_id={{ .Values.database.serverId | int64 }}
log_bin=binlog
sync_binlog=1
innodb_flush_log_at_trx_commit=1
skip_name_resolve=ON
# The restore account creates triggers and functions without SUPER.
log_bin_trust_function_creators=ON
{{- if eq .Values.database.kind "mysql" }}
binlog_expire_logs_seconds=259200
gtid_mode=ON
enforce_gtid_consistency=ON
partial_revokes=ON
mysqlx=OFF
# No file access through SQL.
secure_file_priv=NULL
{{- else }}
expire_logs_days=3
{{- if or .Values.stream.enabled (include "drctl.regions" .) }}
# A replay of statements may give other data.
binlog_format=ROW
gtid_strict_mode=ON
# Otherwise a restore to a moment, and what a standby has applied, would be missing in the log.
log_slave_updates=ON
{{- end }}
{{- end }}
{{- if include "drctl.database.tls" . }}
ssl_ca=/run/secrets/database-tls/ca.crt
ssl_cert=/run/secrets/database-tls/tls.crt
ssl_key=/run/secrets/database-tls/tls.key
{{- end }}
{{- with .Values.database.options }}
{{ . }}
{{- end }}
{{- end -}}

{{/*
The option file that comes last, and depends on the part that the region plays. It is not in the checksum of the pod: the
server is not restarted by a promotion, which sets these variables itself.
*/}}
{{- define "drctl.database.role" -}}
[mysqld]
{{- if or (include "drctl.standby" .) .Values.lease.enabled }}
# Until drctl has found that it may be writable. Not super_read_only, with which the image could not create the accounts.
read_only=ON
{{- end }}
{{- if include "drctl.standby" . }}
event_scheduler=OFF
{{- if eq .Values.database.kind "mariadb" }}
# The log of the server may be ahead of what is applied.
gtid_strict_mode=OFF
{{- end }}
{{- end }}
{{- end -}}
