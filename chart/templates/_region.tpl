{{/* Two regions: which of them this release is, and what it runs. */}}

{{/* Whether this release has a counterpart in another region. */}}
{{- define "drctl.regions" -}}
{{- if or .Values.lease.enabled (eq .Values.mode "standby") }}true{{ end -}}
{{- end -}}

{{/* Whether this is the second region, and not promoted. */}}
{{- define "drctl.standby" -}}
{{- if and (eq .Values.mode "standby") (not .Values.standby.promoted) }}true{{ end -}}
{{- end -}}

{{/* Whether a task runs: (list . "task"). */}}
{{- define "drctl.runs" -}}
{{- $ := index . 0 -}}
{{- $task := index . 1 -}}
{{- $standby := include "drctl.standby" $ -}}
{{- if eq $task "standby" -}}
{{- $standby -}}
{{- else if eq $task "switch" -}}
{{- include "drctl.regions" $ -}}
{{- else if (get $.Values $task).enabled -}}
{{- if has $task (list "backup" "stream") -}}
{{- empty $standby | ternary "true" "" -}}
{{- else if eq $task "copy" -}}
{{- /* A promoted region has the newer store. */ -}}
{{- and $.Values.copy.from.url (eq $.Values.mode "standby") $.Values.standby.promoted | empty | ternary "true" "" -}}
{{- else -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Those of these components that run, as a list: (list . "component"…). */}}
{{- define "drctl.running" -}}
{{- $ := index . 0 -}}
{{- $running := list -}}
{{- range rest . }}{{ if include "drctl.runs" (list $ (has . (list "promote" "demote") | ternary "switch" .)) }}{{ $running = append $running . }}{{ end }}{{ end -}}
{{- $running | toJson -}}
{{- end -}}

{{/* Sections `standby`, `lease` and `switch` of drctl.yaml. */}}
{{- define "drctl.region.config" -}}
{{- if eq .Values.mode "standby" }}
standby:
  # A port that the network policies can name.
  listen: 3307
{{- end }}
{{- if .Values.lease.enabled }}
lease:
  side: {{ required "lease.side: required with lease.enabled: the name of this side, such as its region" .Values.lease.side | quote }}
{{- end }}
{{- if and (include "drctl.regions" .) .Values.web.enabled }}
switch:
  {{- if .Values.web.dns.hostname }}
  services: [{{ include "drctl.fullname" . }}-web]
  {{- end }}
  {{- with include "drctl.web.promoted" . | int }}
  scale:
    deployment/{{ include "drctl.fullname" $ }}-web: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Values of two regions that would not work: (dict "root" . "config" the future drctl.yaml). */}}
{{- define "drctl.region.checks" -}}
{{- $ := .root -}}
{{- $config := .config -}}
{{- $copy := $config.copy | default dict -}}
{{- if and $.Values.standby.promoted (ne $.Values.mode "standby") }}{{ fail "standby.promoted: only with mode: standby" }}{{ end -}}
{{- if and $.Values.copy.enabled $.Values.copy.from.url (eq $.Values.mode "primary") (or $.Values.backup.enabled $.Values.stream.enabled) }}{{ fail "copy.from: config.store is the second store, which has the backups of another server; set mode: standby, or disable backup and stream" }}{{ end -}}
{{- if and $.Values.lease.enabled (eq $.Values.mode "primary") (not $copy.to) (not (dig "lease" "store" "" $config)) }}{{ fail "config.copy.to: required with lease.enabled: the second store, which has the lease" }}{{ end -}}
{{- if and (include "drctl.regions" $) (include "drctl.database.own" $) (not $.Values.database.restoreAsRoot) }}{{ fail "database.restoreAsRoot: required with lease.enabled and mode: standby; the restore account makes the server a replica" }}{{ end -}}
{{- range $workload, $replicas := dig "switch" "scale" dict $config -}}
{{- if not (regexMatch "^(deployment|statefulset)/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" $workload) }}{{ fail (printf "config.switch.scale: %s: not a workload; use deployment/NAME or statefulset/NAME" $workload) }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The port at which the standby serves the log to its server; nothing where none runs. */}}
{{- define "drctl.standby.port" -}}
{{- if include "drctl.standby" . }}{{ dig "standby" "listen" 3307 .Values.config }}{{ end -}}
{{- end -}}

{{/* The replicas of a region that takes traffic; an autoscaler goes on from there. */}}
{{- define "drctl.web.promoted" -}}
{{- $web := .Values.web -}}
{{- or $web.autoscaling.enabled $web.keda.enabled | ternary $web.autoscaling.minReplicas $web.replicas | int -}}
{{- end -}}
