{{/*
Checks that a schema cannot express, made before any object is created: (dict "root" . "config" the future drctl.yaml).
An error that passes here makes every pod of drctl fail.
*/}}
{{- define "drctl.checks" -}}
{{- $ := .root -}}
{{- $config := .config -}}
{{- /* Schedules and their zone. */ -}}
{{- range $task := list "backup" "verify" "prune" -}}
{{- with get $config.schedule $task -}}
{{- $why := include "drctl.schedule.wrong" . -}}
{{- if $why }}{{ fail (printf "%s.schedule: %s: %s" $task . $why) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- /* Only where the machine has time zone data. The function treats an unknown zone as UTC. */ -}}
{{- $zone := $config.schedule.time_zone | default "UTC" -}}
{{- if ne (dateInZone "MST" (toDate "2006-01-02" "2026-01-15") "Asia/Tokyo") "UTC" -}}
{{- if and (eq (dateInZone "MST" (toDate "2006-01-02" "2026-01-15") $zone) "UTC") (not (regexMatch "^((Etc/)?(UTC|UCT|Universal|Zulu)|Local)$" $zone)) -}}
{{- fail (printf "timeZone: %s: unknown time zone; use a name of the IANA database, such as Europe/Berlin" $zone) -}}
{{- end -}}
{{- end -}}
{{- if eq $zone "Local" }}{{ fail "timeZone: Local: Kubernetes does not accept this time zone; use a name of the IANA database" }}{{ end -}}
{{- /* URLs that may contain a secret: the error of a schema would show the value. */ -}}
{{- $notify := $config.notify | default dict -}}
{{- range $key, $url := dict "source.url" $config.source.url "into.url" $config.into.url -}}
{{- if and $url (not (regexMatch "^(mysql|mariadb)://[^/@[:space:]]+@[^[:space:]]+$" $url)) }}{{ fail (printf "config.%s: invalid URL; the form is mysql://user@host:3306" $key) }}{{ end -}}
{{- end -}}
{{- if not (regexMatch "^(local|pod|(mysql|mariadb)://[^/@[:space:]]+@[^[:space:]]+)$" $config.verify.scratch) }}{{ fail "config.verify.scratch: invalid value; use local, pod, or mysql://user@host:3306" }}{{ end -}}
{{- with dig "alertmanager" "url" "" $notify -}}
{{- if not (regexMatch "^https?://[^/?#[:space:]]+[^[:space:]]*$" .) }}{{ fail "config.notify.alertmanager.url: invalid URL; it must start with https:// or http:// and a host" }}{{ end -}}
{{- end -}}
{{- range $key, $url := dict "config.store.url" $config.store.url "config.copy.to" (dig "copy" "to" "" $config) "copy.from.url" ($.Values.copy.from.url | default "") -}}
{{- if $url -}}
{{- if not (regexMatch "^(s3://[A-Za-z0-9._-]+(/[^/?#[:space:]]+)*/*|file:///[^?#[:space:]]*[^/?#[:space:]][^?#[:space:]]*)$" $url) }}{{ fail (printf "%s: invalid URL; use s3://bucket/prefix or file:///absolute/directory" $key) }}{{ end -}}
{{- if and (hasPrefix "s3://" $url) (regexMatch "/(\\.{1,2}|\\.drctl-tmp-[^/]*)(/|$)" (trimPrefix "s3:/" $url)) }}{{ fail (printf "%s: no component of the prefix may be . or .. or start with .drctl-tmp-" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- include "drctl.copy.checks" . -}}
{{- include "drctl.region.checks" . -}}
{{- /* Keys that exclude or require each other. */ -}}
{{- $backup := $config.backup -}}
{{- if and $backup.schemas $backup.exclude_schemas }}{{ fail "config.backup.schemas and config.backup.exclude_schemas are mutually exclusive; set one of them" }}{{ end -}}
{{- if and (hasKey $backup "level") (eq ($backup.codec | default "zstd") "gzip") (gt (int $backup.level) 9) }}{{ fail (printf "config.backup.level: %v: gzip supports levels 1 to 9" $backup.level) }}{{ end -}}
{{- if and (eq ($backup.codec | default "zstd") "none") (hasKey $backup "level") (ne (int $backup.level) 0) }}{{ fail (printf "config.backup.level: %v: codec none has no levels" $backup.level) }}{{ end -}}
{{- $alertmanager := $notify.alertmanager | default dict -}}
{{- if and $alertmanager.url $alertmanager.url_file }}{{ fail "config.notify.alertmanager.url and url_file are mutually exclusive; set only the file" }}{{ end -}}
{{- range $label := list "alertname" "severity" "target" "test" -}}
{{- if hasKey ($notify.labels | default dict) $label }}{{ fail (printf "config.notify.labels: %s is set by drctl itself; use another name" $label) }}{{ end -}}
{{- end -}}
{{- $lock := dig "s3" "object_lock" dict $config.store -}}
{{- if and $lock (not (and $lock.mode $lock.days)) }}{{ fail "config.store.s3.object_lock: both mode and days are required" }}{{ end -}}
{{- $s3 := $config.store.s3 | default dict -}}
{{- if and $lock (eq ($s3.checksum | default "") "off") }}{{ fail "config.store.s3.object_lock: requires a checksum of every object; set config.store.s3.checksum to crc64nvme" }}{{ end -}}
{{- $attempt := $s3.attempt_timeout_seconds | default 60 -}}
{{- $operation := $s3.operation_timeout_seconds | default 300 -}}
{{- if gt (int64 $attempt) (int64 $operation) }}{{ fail (printf "config.store.s3.attempt_timeout_seconds: %d exceeds operation_timeout_seconds (%d)" (int64 $attempt) (int64 $operation)) }}{{ end -}}
{{- if has ($s3.storage_class | default "") (list "GLACIER" "DEEP_ARCHIVE") }}{{ fail (printf "config.store.s3.storage_class: %s takes hours to read; use a class with immediate access, such as STANDARD_IA or GLACIER_IR" $s3.storage_class) }}{{ end -}}
{{- include "drctl.keys.checks" . -}}
{{- if $.Values.prune.enabled -}}
{{- $rules := 0 -}}
{{- range $rule := list "last" "daily" "weekly" "monthly" "yearly" "within_days" "labels" -}}
{{- with get ($config.retention | default dict) $rule }}{{ $rules = add1 $rules }}{{ end -}}
{{- end -}}
{{- if eq (int $rules) 0 }}{{ fail "config.retention: no retention rule; set one of last, daily, weekly, monthly, yearly, within_days, labels, or set prune.enabled to false" }}{{ end -}}
{{- end -}}
{{- /* Kubernetes rejects a pod whose requests exceed its limits; the workload would have no pods. */ -}}
{{- range $section := list "database" "web" "backup" "verify" "prune" "restore" "serve" "stream" "copy" "standby" "lease" "switch" "watcher" -}}
{{- include "drctl.resources.check" (list $section (get $.Values $section).resources) -}}
{{- end -}}
{{- include "drctl.resources.check" (list "verify.scratch" $.Values.verify.scratch.resources) -}}
{{- include "drctl.resources.check" (list "verify.scratch.production" $.Values.verify.scratch.productionResources) -}}
{{- $autoscaling := $.Values.web.autoscaling -}}
{{- if and (or $autoscaling.enabled $.Values.web.keda.enabled) (gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) }}{{ fail "web.autoscaling.minReplicas: greater than maxReplicas" }}{{ end -}}
{{- with $.Values.web.service.nodePort -}}
{{- if and (gt (int .) 0) (lt (int .) 30000) (eq $.Values.web.service.type "NodePort") }}{{ fail (printf "web.service.nodePort: %d: outside the range 30000 to 32767" (int .)) }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Rejects requests that exceed the limit: (list "section" resources). */}}
{{- define "drctl.resources.check" -}}
{{- $section := index . 0 -}}
{{- $resources := index . 1 | default dict -}}
{{- $limits := $resources.limits | default dict -}}
{{- range $name, $amount := $resources.requests | default dict -}}
{{- with get $limits $name -}}
{{- if gt (include "drctl.amount" $amount | float64) (include "drctl.amount" . | float64) }}{{ fail (printf "%s.resources: the request for %s (%v) exceeds the limit (%v)" $section $name $amount .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity as a number. */}}
{{- define "drctl.amount" -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- mulf (trimSuffix $unit $text | float64) (get $factors $unit | default 1.0) -}}
{{- end -}}

{{/* Why a schedule with valid syntax never runs: a range that ends before it starts, or a day that no month has. */}}
{{- define "drctl.schedule.wrong" -}}
{{- $fields := regexSplit "\\s+" (trim .) -1 -}}
{{- $why := "" -}}
{{- if eq (len $fields) 5 -}}
{{- $names := dict "jan" 1 "feb" 2 "mar" 3 "apr" 4 "may" 5 "jun" 6 "jul" 7 "aug" 8 "sep" 9 "oct" 10 "nov" 11 "dec" 12 "sun" 0 "mon" 1 "tue" 2 "wed" 3 "thu" 4 "fri" 5 "sat" 6 -}}
{{- range $field := $fields -}}
{{- range $part := splitList "," $field -}}
{{- $ends := splitList "-" (splitList "/" $part | first) -}}
{{- if eq (len $ends) 2 -}}
{{- $low := first $ends | lower -}}
{{- $high := last $ends | lower -}}
{{- if gt (get $names $low | default ($low | trimPrefix "0" | int) | int) (get $names $high | default ($high | trimPrefix "0" | int) | int) -}}
{{- $why = printf "the range %s ends before it starts" $part -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* If the day of the week is a star, only the days of the month count: the first of them, in the longest month. */ -}}
{{- if and (not $why) (regexMatch "(^|,)[*?](/0*1)?(,|$)" (index $fields 4)) -}}
{{- $first := 31 -}}
{{- range $part := splitList "," (index $fields 2) -}}
{{- $low := regexFind "^[*?0-9]+" $part -}}
{{- $first = min $first (regexMatch "[*?]" $low | ternary 1 (regexReplaceAll "^0+" $low "" | int)) -}}
{{- end -}}
{{- $longest := 0 -}}
{{- range $part := splitList "," (index $fields 3 | lower) -}}
{{- $step := regexFind "/[0-9]+$" $part | trimPrefix "/" -}}
{{- $ends := splitList "-" (splitList "/" $part | first) -}}
{{- $low := first $ends -}}
{{- $star := regexMatch "[*?]" $low -}}
{{- $low = $star | ternary 1 (get $names $low | default (regexReplaceAll "^0+" $low "" | int) | int) -}}
{{- $high := last $ends -}}
{{- $high = or $star (and (ne $step "") (eq (len $ends) 1)) | ternary 12 (get $names $high | default (regexReplaceAll "^0+" $high "" | int) | int) -}}
{{- range $month := untilStep (int $low) (add1 $high | int) (regexReplaceAll "^0+" $step "" | default "1" | int) -}}
{{- $longest = max $longest (has $month (list 4 6 9 11) | ternary 30 (eq $month 2 | ternary 29 31)) -}}
{{- end -}}
{{- end -}}
{{- if gt (int $first) (int $longest) }}{{ $why = "this day does not exist" }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $why -}}
{{- end -}}
