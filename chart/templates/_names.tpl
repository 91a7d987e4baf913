{{/* Names and labels. */}}

{{/*
The name of everything: the release's, ending in "drctl", because the alert rules know CronJobs by
"(.+-)?drctl-.+". Short enough for a CronJob's name, which ends at 52 characters.
*/}}
{{- define "drctl.fullname" -}}
{{- if eq .Release.Name "drctl" -}}
drctl
{{- else -}}
{{- .Release.Name | trimSuffix "-drctl" | trunc 35 | trimSuffix "-" | printf "%s-drctl" -}}
{{- end -}}
{{- end -}}

{{- define "drctl.target" -}}
{{- .Values.target | default .Release.Name -}}
{{- end -}}

{{/* Labels by which pods are selected: (list . "component"). */}}
{{- define "drctl.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ $.Chart.Name }}
app.kubernetes.io/instance: {{ $.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object: (list . "component"). */}}
{{- define "drctl.labels" -}}
{{- $ := index . 0 -}}
{{ include "drctl.selector" . }}
app.kubernetes.io/part-of: {{ include "drctl.fullname" $ }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- range $key, $value := $.Values.commonLabels }}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/part-of" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") }}
{{- fail (printf "commonLabels: %s is the chart's own; take another name" $key) }}
{{- end }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: (list . "component" own-labels…). Later ones win. */}}
{{- define "drctl.podLabels" -}}
{{- $ := index . 0 -}}
{{- $labels := dict -}}
{{- range slice . 2 }}{{ $labels = mergeOverwrite $labels (. | default dict | deepCopy) }}{{ end -}}
{{- $own := include "drctl.selector" (list $ (index . 1)) | fromYaml -}}
{{- toYaml (mergeOverwrite (deepCopy $.Values.commonLabels) $labels $own (dict "app.kubernetes.io/part-of" (include "drctl.fullname" $))) -}}
{{- end -}}

{{/* The head of an object's metadata: (list . "component" "-suffix" wave). */}}
{{- define "drctl.metadata" -}}
{{- $ := index . 0 -}}
name: {{ include "drctl.fullname" $ }}{{ index . 2 }}
namespace: {{ $.Release.Namespace | quote }}
labels:
  {{- include "drctl.labels" (list $ (index . 1)) | nindent 2 }}
{{- end -}}

{{/* The Argo CD sync wave, as an annotation: (list . wave). */}}
{{- define "drctl.wave" -}}
{{- $ := index . 0 -}}
{{- if $.Values.argocd.syncWaves -}}
argocd.argoproj.io/sync-wave: {{ index . 1 | quote }}
{{- end }}
{{- end -}}

{{/* `annotations:` of an object, where there are any: (list . wave own-annotations…). */}}
{{- define "drctl.annotations" -}}
{{- $all := include "drctl.wave" (list (index . 0) (index . 1)) | fromYaml -}}
{{- range slice . 2 }}{{ $all = mergeOverwrite $all (. | default dict | deepCopy) }}{{ end -}}
{{- with $all -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "drctl.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
