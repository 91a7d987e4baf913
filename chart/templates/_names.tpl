{{/* Names and labels. */}}

{{/* Name of the chart within the release: `drctl`, an alias, or nameOverride. */}}
{{- define "drctl.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/*
Name prefix of all objects: the release's name, plus an alias if there is one, ending in "drctl", because the alert rules
select CronJobs by "(.+-)?drctl-.+". At most 42 characters, so that the name of a CronJob has at most 52, that of a
Service at most 63, and the suffixes of controllers fit in a label. A longer name is cut and made unique by its digest.
*/}}
{{- define "drctl.fullname" -}}
{{- $name := include "drctl.name" . -}}
{{- $base := .Release.Name -}}
{{- if and (ne $name "drctl") (ne $name $base) }}{{ $base = printf "%s-%s" $base $name }}{{ end -}}
{{- $full := $base -}}
{{- if ne $base "drctl" -}}
{{- $base = trimSuffix "-drctl" $base -}}
{{- if gt (len $base) 36 }}{{ $base = printf "%s-%s" (trunc 31 $base | trimSuffix "-") (sha256sum $base | trunc 4) }}{{ end -}}
{{- $full = printf "%s-drctl" $base -}}
{{- end -}}
{{- $full = .Values.fullnameOverride | default $full -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "the name %s is not valid for a Service (lowercase letters, digits and hyphens, starting with a letter); set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "drctl.target" -}}
{{- $name := include "drctl.name" . -}}
{{- $target := .Values.target | default (eq $name "drctl" | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) -}}
{{- if not (regexMatch "^[a-z0-9][a-z0-9-]{0,62}$" $target) -}}
{{- fail (printf "the target name %s is invalid (lowercase letters, digits and hyphens); set target" $target) -}}
{{- end -}}
{{- $target -}}
{{- end -}}

{{/* Selector labels of pods: (list . "component"). */}}
{{- define "drctl.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ include "drctl.name" $ | quote }}
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
{{- fail (printf "commonLabels: %s is reserved for the chart; use another name" $key) }}
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

{{/* Start of an object's metadata: (list . "component" "-suffix" wave). */}}
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

{{/* `annotations:` of an object, if there are any: (list . wave own-annotations…). */}}
{{- define "drctl.annotations" -}}
{{- $all := mergeOverwrite (deepCopy (index . 0).Values.commonAnnotations) (include "drctl.wave" (list (index . 0) (index . 1)) | fromYaml) -}}
{{- range slice . 2 }}{{ $all = mergeOverwrite $all (. | default dict | deepCopy) }}{{ end -}}
{{- with $all -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "drctl.image" -}}
{{- $repository := include "drctl.fromRegistry" (list . .Values.image.repository) -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* An image, from `global.imageRegistry` if set: (list . image). */}}
{{- define "drctl.fromRegistry" -}}
{{- $registry := dig "imageRegistry" "" ((index . 0).Values.global | default dict) -}}
{{- $parts := splitList "/" (index . 1) -}}
{{- if $registry -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) }}{{ $parts = rest $parts }}{{ end -}}
{{ $registry }}/
{{- end -}}
{{ join "/" $parts }}
{{- end -}}

{{/* Names of the image pull secrets, as a list. */}}
{{- define "drctl.pullSecretNames" -}}
{{- $names := list -}}
{{- range concat .Values.imagePullSecrets (dig "imagePullSecrets" list (.Values.global | default dict)) -}}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") .) -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}
