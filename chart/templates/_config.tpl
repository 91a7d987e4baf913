{{/* drctl.yaml: the settings of the chart, overridden by `config`. */}}
{{- define "drctl.config" -}}
{{- $db := .Values.database -}}
{{- $server := include "drctl.database.any" . -}}
{{- $source := dict -}}
{{- $into := dict -}}
{{- if $server -}}
{{- $source = dict "url" (include "drctl.database.url" (list . $db.backupUser)) "password_file" "/run/secrets/database/backup-password" -}}
{{- $into = dict "user" $db.restoreUser "password_file" "/run/secrets/database/restore-password" -}}
{{- end -}}
{{- $kind := dig "source" "kind" "mysql" .Values.config -}}
{{- if and $server (ne $kind "mysql") }}{{ fail (printf "database.kind: must be none with config.source.kind: %s" $kind) }}{{ end -}}
{{- if and (not $server) (eq $kind "mysql") }}{{ fail "config.source.kind: required with database.kind: none, such as files" }}{{ end -}}
{{- range $section := empty $server | ternary (list "web" "stream" "lease") list -}}
{{- if (get $.Values $section).enabled }}{{ fail (printf "%s.enabled: needs a server; set it to false with database.kind: none" $section) }}{{ end -}}
{{- end -}}
{{- $config := dict
  "target" (include "drctl.target" .)
  "source" $source
  "into" $into
  "backup" (dict "deadline_seconds" (include "drctl.deadline" .Values.backup.deadlineSeconds | int))
  "restore" (dict "deadline_seconds" (include "drctl.deadline" .Values.restore.deadlineSeconds | int))
  "verify" (dict
    "scratch" (empty $server | ternary "local" "pod")
    "deadline_seconds" (include "drctl.deadline" .Values.verify.deadlineSeconds | int)
    "pod" (include "drctl.config.scratch" . | fromYaml))
  "schedule" (include "drctl.config.schedule" . | fromYaml)
  "serve" (dict "listen" "0.0.0.0:9898")
-}}
{{- with include "drctl.fenced" . | fromYamlArray -}}
{{- $_ := set $config.restore "fence" . -}}
{{- end -}}
{{- $own := deepCopy .Values.config -}}
{{- range $key := list "source.password" "into.password" "verify.scratch_password" -}}
{{- $at := splitList "." $key -}}
{{- if dig (first $at) (last $at) "" $own -}}
{{- fail (printf "config.%s: drctl.yaml is a ConfigMap and must not contain a password; put it in a Secret and set %s_file" $key $key) -}}
{{- end -}}
{{- end -}}
{{- range $key, $file := dict "source.url" "source.password_file" "into.url" "into.password_file" "verify.scratch" "verify.scratch_password_file" -}}
{{- $at := splitList "." $key -}}
{{- if regexMatch "://[^/@]*:[^/@]*@" (dig (first $at) (last $at) "" $own) -}}
{{- fail (printf "config.%s: must not contain a password; put it in a Secret and set %s" $key $file) -}}
{{- end -}}
{{- end -}}
{{- /* Such a URL is a credential; the URL of an Alertmanager is an address, unless it contains a user, ? or #. */ -}}
{{- range $key := list "webhook.url" "slack.url" "heartbeat.backup_url" "heartbeat.verify_url" "alertmanager.url" -}}
{{- $at := splitList "." $key -}}
{{- $url := dig "notify" (first $at) (last $at) "" $own -}}
{{- if and $url (or (ne $key "alertmanager.url") (regexMatch "[@?#]" $url)) -}}
{{- fail (printf "config.notify.%s: drctl.yaml is a ConfigMap, which is no place for a URL that is a secret; put it in a Secret, mount that by drctl.extraVolumes and drctl.extraVolumeMounts, and name the file in config.notify.%s_file" $key $key) -}}
{{- end -}}
{{- end -}}
{{- range $store := list
  (list "config.store" "url" ($own.store | default dict) "storeCredentials")
  (list "config.copy" "to" ($own.copy | default dict) "copy.credentials")
  (list "copy.from" "url" .Values.copy.from "copy.credentials") -}}
{{- $key := index $store 0 -}}
{{- $settings := index $store 2 -}}
{{- if regexMatch "[@?#]" (dig "s3" "endpoint_url" "" $settings) -}}
{{- fail (printf "%s.s3.endpoint_url: no user, password, ? or # may stand in it; drctl.yaml is a ConfigMap: put the keys in a Secret and name it in %s.existingSecret" $key (index $store 3)) -}}
{{- end -}}
{{- if regexMatch "^s3://([^/]*@|[^?#]*[?#])" (get $settings (index $store 1) | default "") -}}
{{- fail (printf "%s.%s: no credentials, ? or # may stand in it; drctl.yaml is a ConfigMap: put the keys in a Secret and name it in %s.existingSecret" $key (index $store 1) (index $store 3)) -}}
{{- end -}}
{{- end -}}
{{- if $own.notify -}}
{{- $_ := set $config "notify" (dict "labels" (dict "namespace" .Release.Namespace)) -}}
{{- with .Values.monitoring.rules.runbooksUrl }}{{ $_ := set $config.notify "runbooks_url" . }}{{ end -}}
{{- end -}}
{{- if and (dig "copy" "to" "" $own) (include "drctl.copy.credentials" .) -}}
{{- $_ := set $config "copy" (dict "s3" (dict "credentials_file" "/run/secrets/other-store/credentials")) -}}
{{- end -}}
{{- $config = mergeOverwrite $config (include "drctl.region.config" . | fromYaml) $own -}}
{{- $_ := required "config.store.url: required: the URL of the store, such as s3://bucket/prefix" (dig "store" "url" "" $config) -}}
{{- if and .Values.verify.enabled (eq $config.verify.scratch "pod") (not $config.verify.pod.images) -}}
{{- fail "verify.scratch.images: required for an existing database: the image of scratch pods, such as mysql-8.4: mysql:8.4" -}}
{{- end -}}
{{- include "drctl.checks" (dict "root" . "config" $config) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* A run ends itself a minute before the deadline of its Job, so that it can report the failure and clean up. */}}
{{- define "drctl.deadline" -}}
{{- sub (int .) 60 -}}
{{- end -}}

{{- define "drctl.config.schedule" -}}
{{- range $task := list "backup" "verify" "prune" }}
{{- if include "drctl.runs" (list $ $task) }}
{{ $task }}: {{ (get $.Values $task).schedule | quote }}
{{- end }}
{{- end }}
time_zone: {{ .Values.timeZone | quote }}
{{- end -}}

{{- define "drctl.config.scratch" -}}
{{- $scratch := .Values.verify.scratch -}}
{{- $images := dict -}}
{{- if include "drctl.database.own" . -}}
{{- $_ := set $images (printf "%s-%s" .Values.database.kind (include "drctl.database.version" .)) (include "drctl.database.image" .) -}}
{{- end -}}
namespace: {{ .Release.Namespace | quote }}
{{- range $line, $image := $scratch.images }}{{ $_ := set $images $line (include "drctl.fromRegistry" (list $ $image)) }}{{ end }}
images: {{ toJson $images }}
service_account: {{ include "drctl.fullname" . }}-scratch
# 0: assigned by the cluster.
run_as_user: {{ .Values.database.runAsUser | default 0 | int64 }}
{{- with $scratch.resources }}
resources: {{ toJson . }}
{{- end }}
{{- $production := $scratch.productionResources }}
{{- if and (not $production) (include "drctl.database.own" .) }}
{{- /* Ephemeral storage depends on the backup; drctl calculates it. */}}
{{- $production = dict }}
{{- range $kind, $amounts := .Values.database.resources }}{{ $_ := set $production $kind (omit $amounts "ephemeral-storage") }}{{ end }}
{{- end }}
{{- with $production }}
production_resources: {{ toJson . }}
{{- end }}
# Selected by the network policy of scratch pods.
labels:
  {{- $velero := .Values.velero.exclude | ternary (dict "velero.io/exclude-from-backup" "true") dict }}
  {{- include "drctl.podLabels" (list . "scratch" $velero (include "drctl.mesh.labels" (list . false) | fromYaml)) | nindent 2 }}
{{- with include "drctl.mesh.annotations" (list . false) | fromYaml }}
annotations: {{ toJson . }}
{{- end }}
{{- with $scratch.storageClass }}
storage_class: {{ . }}
{{- end }}
{{- with include "drctl.pullSecretNames" . | fromJsonArray }}
image_pull_secrets: {{ toJson . }}
{{- end }}
{{- with $scratch.nodeSelector }}
node_selector: {{ toJson . }}
{{- end }}
{{- with $scratch.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* The workloads that a restore fences, as kind/name. */}}
{{- define "drctl.fenced" -}}
{{- if and .Values.restore.enabled .Values.restore.fence }}
{{- if .Values.web.enabled }}
- deployment/{{ include "drctl.fullname" . }}-web
{{- end }}
{{- range .Values.database.existing.fence }}
- {{ . }}
{{- end }}
{{- end }}
{{- end -}}
