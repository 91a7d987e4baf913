{{/* The keys of encryption and signatures: which pod has which of them, and as which file. */}}

{{/*
The keys of a pod: (list . "component"). A list of
  name      its volume and its directory in /run/keys
  variable  the variable that names its file
  file      the file, which is also the key in its Secret or ConfigMap
  from      the values that name its source
Public keys go to each pod that uses them. The signing key goes to what writes backups and the log, an identity to what
reads them; none goes to both but `helm test`, which checks all of them, and may lack the identity.
*/}}
{{- define "drctl.keys" -}}
{{- $ := index . 0 -}}
{{- $keys := $.Values.keys -}}
{{- $recipients := dict "name" "recipients" "variable" "DRCTL_ENCRYPTION_RECIPIENTS_FILE" "file" "recipients" "from" $keys.recipients -}}
{{- $signing := dict "name" "signing" "variable" "DRCTL_SIGNING_KEY_FILE" "file" "signing-key" "from" $keys.signing -}}
{{- $signers := dict "name" "signers" "variable" "DRCTL_ALLOWED_SIGNERS_FILE" "file" "allowed_signers" "from" $keys.allowedSigners -}}
{{- $drill := dict "name" "identity" "variable" "DRCTL_IDENTITY_FILE" "file" "identity" "from" $keys.identity.verify -}}
{{- $operator := dict "name" "identity" "variable" "DRCTL_IDENTITY_FILE" "file" "identity" "from" $keys.identity.restore -}}
{{- $follower := dict "name" "identity" "variable" "DRCTL_IDENTITY_FILE" "file" "identity" "from" $keys.identity.standby -}}
{{- $all := dict
  "backup" (list $recipients $signing $signers)
  "stream" (list $recipients $signing $signers)
  "verify" (list $drill $signers)
  "restore" (list $operator $signers)
  "prune" (list $signers)
  "serve" (list $signers)
  "copy" (list $signers)
  "standby" (list $follower $signers)
  "promote" (list $follower $signers)
  "demote" (list $follower $signers)
  "lease" (list $signers)
  "doctor" (list $recipients $signing $operator $signers)
  "watcher" list
-}}
{{- $given := list -}}
{{- range get $all (index . 1) -}}
{{- if include "drctl.keys.given" .from }}{{ $given = append $given . }}{{ end -}}
{{- end -}}
{{- $given | toJson -}}
{{- end -}}

{{/* Whether a key has a source. */}}
{{- define "drctl.keys.given" -}}
{{- if compact (values .) }}true{{ end -}}
{{- end -}}

{{- define "drctl.keys.env" -}}
{{- range include "drctl.keys" . | fromJsonArray }}
- name: {{ .variable }}
  value: {{ .from.text | default "" | empty | ternary (printf "/run/keys/%s/%s" .name .file) (printf "/etc/drctl/%s" .file) }}
{{- end }}
{{- end -}}

{{- define "drctl.keys.mounts" -}}
{{- range include "drctl.keys" . | fromJsonArray }}
{{- if not .from.text }}
- {name: key-{{ .name }}, mountPath: /run/keys/{{ .name }}, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{/* A file that is missing is reported by drctl; otherwise the pod would wait forever without any log. */}}
{{- define "drctl.keys.volumes" -}}
{{- range include "drctl.keys" . | fromJsonArray }}
{{- if not .from.text }}
- name: key-{{ .name }}
  {{- if .from.secretProviderClass }}
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ .from.secretProviderClass }}
  {{- else if .from.existingSecret }}
  secret:
    secretName: {{ .from.existingSecret }}
    defaultMode: 0440
    optional: true
    items:
      - {key: {{ .file }}, path: {{ .file }}}
  {{- else }}
  configMap:
    name: {{ .from.existingConfigMap }}
    optional: true
    items:
      - {key: {{ .file }}, path: {{ .file }}}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Changes with what a long-running pod reads once: the configuration, and allowed signers that are values. */}}
{{- define "drctl.checksum" -}}
{{- printf "%s%s%s" (include "drctl.config" .) (include "drctl.copy.config" .) .Values.keys.allowedSigners.text | sha256sum -}}
{{- end -}}

{{/* Combinations of keys with which backups or restores would fail: (dict "root" . "config" the future drctl.yaml). */}}
{{- define "drctl.keys.checks" -}}
{{- $ := .root -}}
{{- $config := .config -}}
{{- $keys := $.Values.keys -}}
{{- $encryption := $config.encryption | default dict -}}
{{- $signing := $config.signing | default dict -}}
{{- range $name, $from := dict "recipients" $keys.recipients "signing" $keys.signing "allowedSigners" $keys.allowedSigners "identity.verify" $keys.identity.verify "identity.restore" $keys.identity.restore "identity.standby" $keys.identity.standby -}}
{{- if gt (values $from | compact | len) 1 }}{{ fail (printf "keys.%s: its values are mutually exclusive; set one of them" $name) }}{{ end -}}
{{- end -}}
{{- range $key, $pair := dict
  "encryption.recipients_file" (list $encryption.recipients_file (include "drctl.keys.given" $keys.recipients) "keys.recipients")
  "signing.key_file" (list $signing.key_file (include "drctl.keys.given" $keys.signing) "keys.signing")
  "allowed_signers_file" (list $config.allowed_signers_file (include "drctl.keys.given" $keys.allowedSigners) "keys.allowedSigners")
  "identity_file" (list $config.identity_file (or (include "drctl.keys.given" $keys.identity.verify) (include "drctl.keys.given" $keys.identity.restore) (include "drctl.keys.given" $keys.identity.standby)) "keys.identity") -}}
{{- if and (index $pair 0) (index $pair 1) }}{{ fail (printf "config.%s and %s are mutually exclusive; the file is the same in all pods, and the other goes only to those that need it" $key (index $pair 2)) }}{{ end -}}
{{- end -}}
{{- range $number, $recipient := $encryption.recipients -}}
{{- if not (regexMatch "^(age1[0-9a-z]+|ssh-(ed25519|rsa) [A-Za-z0-9+/]+=*( .*)?)$" $recipient) }}{{ fail (printf "config.encryption.recipients: item %d is no public key of age (age1…) or OpenSSH (ssh-ed25519 …, ssh-rsa …)" (add1 $number)) }}{{ end -}}
{{- end -}}
{{- if contains "PRIVATE KEY" $keys.allowedSigners.text }}{{ fail "keys.allowedSigners.text: contains a private key, which a ConfigMap would show; write a line for each signer: shop ssh-ed25519 AAAA…" }}{{ end -}}
{{- /* An identity for each job that reads. */ -}}
{{- $encrypts := or $encryption.recipients $encryption.recipients_file (include "drctl.keys.given" $keys.recipients) -}}
{{- if and $encrypts (not $config.identity_file) -}}
{{- if and $.Values.verify.enabled (not (include "drctl.keys.given" $keys.identity.verify)) }}{{ fail "keys.identity.verify: required with recipients: drills cannot read encrypted backups otherwise; name a Secret with the private key of one of the recipients, or set verify.enabled to false" }}{{ end -}}
{{- if and $.Values.restore.enabled (not (include "drctl.keys.given" $keys.identity.restore)) }}{{ fail "keys.identity.restore: required with recipients: an emergency restore cannot read encrypted backups otherwise; name a Secret, which may be created only when it is needed, or set restore.enabled to false" }}{{ end -}}
{{- if and (eq $.Values.mode "standby") (not (include "drctl.keys.given" $keys.identity.standby)) }}{{ fail "keys.identity.standby: required with recipients and mode: standby: the standby cannot read encrypted backups otherwise; name a Secret with the private key of one of the recipients" }}{{ end -}}
{{- end -}}
{{- /* Signatures that are verified, and made. */ -}}
{{- $signers := or $config.allowed_signers_file (include "drctl.keys.given" $keys.allowedSigners) -}}
{{- $trust := $config.trust | default (ternary "off" "require" (empty $signers)) | toString -}}
{{- if and (has $trust (list "warn" "require")) (not $signers) }}{{ fail (printf "config.trust: %s: no allowed signers are configured; set keys.allowedSigners" $trust) }}{{ end -}}
{{- if and (eq $trust "require") (or $.Values.backup.enabled $.Values.stream.enabled) (not $signing.key_file) (not (include "drctl.keys.given" $keys.signing)) }}{{ fail "keys.signing: required with allowed signers: backups that are not signed would be refused by restores; name a Secret with a signing key, or set config.trust to warn" }}{{ end -}}
{{- end -}}
