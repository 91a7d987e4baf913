{{/* The other store: the primary one in the second region, elsewhere the second one. */}}

{{/*
Configuration of the copier of the second region: it reads `copy.from` and writes this region's store. A file of its own,
since `store` of all other pods there is the second store.
*/}}
{{- define "drctl.copy.config" -}}
{{- if and (include "drctl.runs" (list . "copy")) .Values.copy.from.url -}}
{{- $config := include "drctl.config" . | fromYaml -}}
{{- $from := deepCopy .Values.copy.from -}}
{{- if include "drctl.copy.credentials" . -}}
{{- $from = mergeOverwrite (dict "s3" (dict "credentials_file" "/run/secrets/other-store/credentials")) $from -}}
{{- end -}}
{{- /* The keys that `copy` shares with `store` are those of the store that is written. */ -}}
{{- $to := mergeOverwrite (omit ($config.copy | default dict) "to" "s3") (pick $config.store "s3" "part_bytes" "parts_in_flight") (dict "to" $config.store.url) -}}
{{- /* It ends when this side is promoted: the lease is in this region's store, which it writes, or in the one it reads. */ -}}
{{- $lease := dict -}}
{{- $second := dig "copy" "to" "" .Values.config -}}
{{- $here := or (not $second) (eq (dig "lease" "store" "" .Values.config) "store") -}}
{{- if and .Values.lease.enabled (or $here (eq $second .Values.copy.from.url)) -}}
{{- $_ := set $to "side" .Values.lease.side -}}
{{- $lease = dict "lease" (dict "store" (ternary "copy" "store" $here)) -}}
{{- end -}}
{{- mergeOverwrite (pick $config "target" "trust" "allowed_signers_file") (dict "store" $from "copy" $to) $lease | toYaml -}}
{{- end -}}
{{- end -}}

{{/* Whether the other store has an account of its own. */}}
{{- define "drctl.copy.credentials" -}}
{{- if or .Values.copy.credentials.existingSecret .Values.copy.credentials.perTask }}true{{ end -}}
{{- end -}}

{{/* The Secret with it that a pod gets: (list . "component"). Others have no use for the other store. */}}
{{- define "drctl.copy.secret" -}}
{{- $ := index . 0 -}}
{{- $component := index . 1 -}}
{{- $task := has $component (list "promote" "demote") | ternary "switch" $component -}}
{{- $reads := and (has $task (list "serve" "doctor" "restore" "lease" "switch")) (dig "copy" "to" "" $.Values.config) -}}
{{- if or (eq $task "copy") $reads -}}
{{- get $.Values.copy.credentials.perTask $task | default $.Values.copy.credentials.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Values with which a copier would end at once: (dict "root" . "config" the future drctl.yaml). */}}
{{- define "drctl.copy.checks" -}}
{{- $copy := .root.Values.copy -}}
{{- $store := .config.store -}}
{{- $second := .config.copy | default dict -}}
{{- if $copy.enabled -}}
{{- if not (or $copy.from.url $second.to) }}{{ fail "copy.from.url or config.copy.to: required with copy.enabled: in the second region the primary store to read, elsewhere the second store to write" }}{{ end -}}
{{- $other := ternary $copy.from (dict "url" $second.to "s3" ($second.s3 | default dict)) (not (empty $copy.from.url)) -}}
{{- if and (eq $other.url $store.url) (eq (dig "s3" "endpoint_url" "" $other) (dig "s3" "endpoint_url" "" $store)) }}{{ fail "copy.enabled: both stores are config.store; in the second region config.store is the second store, and copy.from the primary one" }}{{ end -}}
{{- end -}}
{{- end -}}
