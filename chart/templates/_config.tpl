{{/* drctl.yaml: what the chart knows, and `config` over it. */}}
{{- define "drctl.config" -}}
{{- $db := .Values.database -}}
{{- $config := dict
  "target" (include "drctl.target" .)
  "source" (dict "url" (include "drctl.database.url" .) "password_file" "/run/secrets/database/backup-password")
  "into" (dict "user" $db.restoreUser "password_file" "/run/secrets/database/restore-password")
  "backup" (dict "deadline_seconds" (include "drctl.deadline" .Values.backup.deadlineSeconds | int))
  "restore" (dict "deadline_seconds" (include "drctl.deadline" .Values.restore.deadlineSeconds | int))
  "verify" (dict
    "scratch" "pod"
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
{{- fail (printf "config.%s: drctl.yaml is a ConfigMap, which is no place for a password; put it in a Secret and name a file in %s_file" $key $key) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "source" "into" -}}
{{- if regexMatch "://[^/@]*:[^/@]*@" (dig $key "url" "" $own) -}}
{{- fail (printf "config.%s.url: no password may stand in it; put it in a Secret and name a file in %s.password_file" $key $key) -}}
{{- end -}}
{{- end -}}
{{- if $own.notify -}}
{{- $_ := set $config "notify" (dict "labels" (dict "namespace" .Release.Namespace)) -}}
{{- with .Values.monitoring.rules.runbooksUrl }}{{ $_ := set $config.notify "runbooks_url" . }}{{ end -}}
{{- end -}}
{{- $config = mergeOverwrite $config $own -}}
{{- $_ := required "config.store.url: where archives live is needed, like s3://bucket/prefix" (dig "store" "url" "" $config) -}}
{{- if and .Values.verify.enabled (eq $config.verify.scratch "pod") (not $config.verify.pod.images) -}}
{{- fail "verify.scratch.images: the image of scratch pods is needed, like mysql-8.4: mysql:8.4, as the database is not the chart's" -}}
{{- end -}}
{{- include "drctl.checks" (dict "root" . "config" $config) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* A run ends itself a minute before its Job does, so that it can say so and tidy up. */}}
{{- define "drctl.deadline" -}}
{{- sub (int .) 60 -}}
{{- end -}}

{{- define "drctl.config.schedule" -}}
{{- range $task := list "backup" "verify" "prune" }}
{{- with index $.Values $task }}
{{- if .enabled }}
{{ $task }}: {{ .schedule | quote }}
{{- end }}
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
# 0: whatever the cluster gives.
run_as_user: {{ .Values.database.runAsUser | default 0 | int64 }}
{{- with $scratch.resources }}
resources: {{ toJson . }}
{{- end }}
{{- $production := $scratch.productionResources }}
{{- if and (not $production) (include "drctl.database.own" .) }}
{{- /* Room on the node's disk depends on the backup, which drctl knows. */}}
{{- $production = dict }}
{{- range $kind, $amounts := .Values.database.resources }}{{ $_ := set $production $kind (omit $amounts "ephemeral-storage") }}{{ end }}
{{- end }}
{{- with $production }}
production_resources: {{ toJson . }}
{{- end }}
# The network policy of scratch pods knows them by these.
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

{{/* The workloads that a restore fences off, kind/name. */}}
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
