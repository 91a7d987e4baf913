{{/*
What no schema can judge, refused before the cluster has half of it: (dict "root" . "config" what drctl.yaml will be).
Whatever is let through here and is wrong is refused by drctl in a pod, again and again.
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
{{- /* Where this machine knows zones at all. An unknown one is taken for UTC by the function. */ -}}
{{- $zone := $config.schedule.time_zone | default "UTC" -}}
{{- if ne (dateInZone "MST" (toDate "2006-01-02" "2026-01-15") "Asia/Tokyo") "UTC" -}}
{{- if and (eq (dateInZone "MST" (toDate "2006-01-02" "2026-01-15") $zone) "UTC") (not (regexMatch "^((Etc/)?(UTC|UCT|Universal|Zulu)|Local)$" $zone)) -}}
{{- fail (printf "timeZone: %s: there is no such time zone; write its name in the IANA database, like Europe/Berlin" $zone) -}}
{{- end -}}
{{- end -}}
{{- if eq $zone "Local" }}{{ fail "timeZone: Local: Kubernetes takes no such time zone" }}{{ end -}}
{{- /* URLs that may hold a secret: a schema would show the value that it refuses. */ -}}
{{- $notify := $config.notify | default dict -}}
{{- range $key, $url := dict "source.url" $config.source.url "into.url" $config.into.url -}}
{{- if and $url (not (regexMatch "^(mysql|mariadb)://[^/@[:space:]]+@[^[:space:]]+$" $url)) }}{{ fail (printf "config.%s: it is not of the form mysql://user@host:3306" $key) }}{{ end -}}
{{- end -}}
{{- if not (regexMatch "^(local|pod|(mysql|mariadb)://[^/@[:space:]]+@[^[:space:]]+)$" $config.verify.scratch) }}{{ fail "config.verify.scratch: it is not local, pod, or of the form mysql://user@host:3306" }}{{ end -}}
{{- range $name, $keys := dict "webhook" (list "url") "alertmanager" (list "url") "slack" (list "url") "heartbeat" (list "backup_url" "verify_url") -}}
{{- range $key := $keys -}}
{{- $url := get (get $notify $name | default dict) $key -}}
{{- if and $url (not (regexMatch "^https?://[^/?#[:space:]]+[^[:space:]]*$" $url)) }}{{ fail (printf "config.notify.%s.%s: it does not begin with https:// or http:// and a host" $name $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- /* What excludes or needs each other. */ -}}
{{- $backup := $config.backup -}}
{{- if and $backup.schemas $backup.exclude_schemas }}{{ fail "config.backup.schemas and config.backup.exclude_schemas: name the schemas to take, or those to leave out" }}{{ end -}}
{{- if and (hasKey $backup "level") (eq ($backup.codec | default "zstd") "gzip") (gt (int $backup.level) 9) }}{{ fail (printf "config.backup.level: %v: gzip has 1 to 9" $backup.level) }}{{ end -}}
{{- range $name, $keys := dict "webhook" (list "url") "alertmanager" (list "url") "slack" (list "url") "heartbeat" (list "backup_url" "verify_url") -}}
{{- range $key := $keys -}}
{{- $one := get $notify $name | default dict -}}
{{- if and (get $one $key) (get $one (printf "%s_file" $key)) }}{{ fail (printf "config.notify.%s.%s and %s_file: give one of them; keep the file" $name $key $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $label := list "alertname" "severity" "target" "test" -}}
{{- if hasKey ($notify.labels | default dict) $label }}{{ fail (printf "config.notify.labels: %s: drctl sets that one itself" $label) }}{{ end -}}
{{- end -}}
{{- $lock := dig "s3" "object_lock" dict $config.store -}}
{{- if and $lock (not (and $lock.mode $lock.days)) }}{{ fail "config.store.s3.object_lock: mode and days are needed, both" }}{{ end -}}
{{- if $.Values.prune.enabled -}}
{{- $rules := 0 -}}
{{- range $rule := list "last" "daily" "weekly" "monthly" "yearly" "within_days" "labels" -}}
{{- with get ($config.retention | default dict) $rule }}{{ $rules = add1 $rules }}{{ end -}}
{{- end -}}
{{- if eq (int $rules) 0 }}{{ fail "config.retention: no rule says what prune keeps: give one of last, daily, weekly, monthly, yearly, within_days, labels, or set prune.enabled to false" }}{{ end -}}
{{- end -}}
{{- /* Kubernetes makes no pod that asks for more than it may have; the workload would stand there without one. */ -}}
{{- range $section := list "database" "web" "backup" "verify" "prune" "restore" "serve" "watcher" -}}
{{- include "drctl.resources.check" (list $section (get $.Values $section).resources) -}}
{{- end -}}
{{- include "drctl.resources.check" (list "verify.scratch" $.Values.verify.scratch.resources) -}}
{{- include "drctl.resources.check" (list "verify.scratch.production" $.Values.verify.scratch.productionResources) -}}
{{- $autoscaling := $.Values.web.autoscaling -}}
{{- if and (or $autoscaling.enabled $.Values.web.keda.enabled) (gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) }}{{ fail "web.autoscaling.minReplicas: more than maxReplicas" }}{{ end -}}
{{- with $.Values.web.service.nodePort -}}
{{- if and (gt (int .) 0) (lt (int .) 30000) (eq $.Values.web.service.type "NodePort") }}{{ fail (printf "web.service.nodePort: %d: Kubernetes has 30000 to 32767 for these" (int .)) }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Requests that are more than the limit: (list "section" resources). */}}
{{- define "drctl.resources.check" -}}
{{- $section := index . 0 -}}
{{- $resources := index . 1 | default dict -}}
{{- $limits := $resources.limits | default dict -}}
{{- range $name, $amount := $resources.requests | default dict -}}
{{- with get $limits $name -}}
{{- if gt (include "drctl.amount" $amount | float64) (include "drctl.amount" . | float64) }}{{ fail (printf "%s.resources: more %s is requested (%v) than the limit allows (%v)" $section $name $amount .) }}{{ end -}}
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

{{/* Why a schedule whose words are right is none: a range that ends before it begins, days that no month has. */}}
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
{{- $why = printf "%s ends before it begins" $part -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $day := index $fields 2 -}}
{{- $month := index $fields 3 | lower -}}
{{- if and (regexMatch "^[0-9]+$" $day) (regexMatch "^[*?]" (index $fields 4)) (regexMatch "^([0-9]+|[a-z]+)$" $month) -}}
{{- $number := get $names $month | default ($month | trimPrefix "0" | int) | int -}}
{{- $longest := has $number (list 4 6 9 11) | ternary 30 (eq $number 2 | ternary 29 31) -}}
{{- if gt ($day | trimPrefix "0" | int) $longest }}{{ $why = "there is no such day" }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $why -}}
{{- end -}}
