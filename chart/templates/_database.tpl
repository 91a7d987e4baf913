{{/* What the database is, wherever it runs. */}}

{{- define "drctl.database.own" -}}
{{- if ne .Values.database.kind "existing" }}true{{ end -}}
{{- end -}}

{{/* The accounts, and the image of drills, go by it: a tag that says another version line is a mistake. */}}
{{- define "drctl.database.version" -}}
{{- $db := .Values.database -}}
{{- $tagged := regexFind "^[0-9]+\\.[0-9]+" (toString $db.image.tag) -}}
{{- if and $db.version $tagged (ne $db.version $tagged) -}}
{{- fail (printf "database.version: %s, and database.image.tag is of %s" $db.version $tagged) -}}
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
{{- required "database.existing.host: the server's host name is needed, as database.kind is existing" .Values.database.existing.host -}}
{{- else if and .Values.backupNetwork.enabled .Values.backupNetwork.databaseAddress -}}
{{- .Values.backupNetwork.databaseAddress | splitList "/" | first -}}
{{- else -}}
{{- include "drctl.database.service" . }}.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end -}}

{{- define "drctl.database.port" -}}
{{- if include "drctl.database.own" . }}3306{{ else }}{{ .Values.database.existing.port }}{{ end -}}
{{- end -}}

{{- define "drctl.database.url" -}}
{{- $parameters := .Values.database.existing.parameters -}}
{{- if include "drctl.database.own" . -}}
{{- $parameters = empty (include "drctl.database.tls" .) | ternary "" "tls=verify&ca=/run/secrets/database-tls/ca.crt" -}}
{{- end -}}
{{- $host := include "drctl.database.host" . -}}
{{- if and (contains ":" $host) (not (hasPrefix "[" $host)) }}{{ $host = printf "[%s]" $host }}{{ end -}}
mysql://{{ .Values.database.backupUser }}@{{ $host }}:{{ include "drctl.database.port" . }}{{ with $parameters }}/?{{ . }}{{ end }}
{{- end -}}

{{/* Three accounts, none of them root: who restores has rights that the others must not have. */}}
{{- define "drctl.database.accounts" -}}
{{- $db := .Values.database -}}
{{- $names := list $db.user $db.backupUser $db.restoreUser -}}
{{- if or (ne (len (uniq $names)) 3) (has "root" $names) -}}
{{- fail (printf "database.user, backupUser and restoreUser: %s: three names are needed, and none of them root" (join ", " $names)) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the four passwords. */}}
{{- define "drctl.credentials" -}}
{{- $own := or (include "drctl.database.own" .) .Values.database.credentials.externalSecret.enabled -}}
{{- if not (or $own .Values.database.credentials.existingSecret .Values.database.credentials.secretProviderClass) -}}
{{- fail "database.credentials.existingSecret: a Secret with backup-password and restore-password is needed, as database.kind is existing" -}}
{{- end -}}
{{- .Values.database.credentials.existingSecret | default (printf "%s-database" (include "drctl.fullname" .)) -}}
{{- end -}}

{{/* Where the passwords come from, for people. */}}
{{- define "drctl.credentials.name" -}}
{{- with .Values.database.credentials.secretProviderClass }}the SecretProviderClass {{ . }}{{ else }}the Secret {{ include "drctl.credentials" . }}{{ end -}}
{{- end -}}

{{/* The volume with the passwords that a pod needs: (list . "key"…). */}}
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
  secret:
    secretName: {{ include "drctl.credentials" $ }}
    defaultMode: 0440
    # What is missing is named by who wants it: the pod would otherwise wait for ever, without a word in any log.
    optional: true
    items:
      {{- range slice . 1 }}
      - {key: {{ . }}, path: {{ . }}}
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

{{/* The names that the server is reached by, as a list. */}}
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

{{/* The option file. Durable, with a binary log that a backup's coordinates point into. */}}
{{- define "drctl.database.options" -}}
[mysqld]
server_id=1
log_bin=binlog
sync_binlog=1
innodb_flush_log_at_trx_commit=1
skip_name_resolve=ON
# Triggers and functions are restored by an account that is not SUPER.
log_bin_trust_function_creators=ON
{{- if eq .Values.database.kind "mysql" }}
binlog_expire_logs_seconds=259200
gtid_mode=ON
enforce_gtid_consistency=ON
partial_revokes=ON
mysqlx=OFF
# Nobody reads or writes files through SQL.
secure_file_priv=NULL
{{- else }}
expire_logs_days=3
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
