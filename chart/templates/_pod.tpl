{{/* The pods of drctl, and the settings that the Pod Security Standard `restricted` requires. */}}

{{/* Without a user none is set: the cluster then assigns a user, and a group for the volumes. */}}
{{- define "drctl.podSecurity" -}}
runAsNonRoot: true
{{- with . }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
fsGroup: {{ . | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "drctl.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "drctl.pullSecrets" -}}
{{- with include "drctl.pullSecretNames" . | fromJsonArray -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
Labels and annotations that include a pod in a mesh or exclude it: (list . in jobs). The database's port always
bypasses the sidecar: in the MySQL protocol the server speaks first, and it has its own TLS.
*/}}
{{- define "drctl.mesh.labels" -}}
{{- $ := index . 0 -}}
{{- if eq $.Values.mesh.provider "istio" }}
sidecar.istio.io/inject: {{ index . 1 | quote }}
{{- end }}
{{- end -}}
{{- define "drctl.mesh.annotations" -}}
{{- $ := index . 0 -}}
{{- $in := index . 1 -}}
{{- if eq $.Values.mesh.provider "istio" }}
{{- if $in }}
traffic.sidecar.istio.io/excludeInboundPorts: {{ include "drctl.mesh.ports" (list $ 3306) | quote }}
traffic.sidecar.istio.io/excludeOutboundPorts: {{ include "drctl.mesh.ports" (list $ (include "drctl.database.port" $)) | quote }}
sidecar.istio.io/nativeSidecar: "true"
{{- end }}
{{- else if eq $.Values.mesh.provider "linkerd" }}
linkerd.io/inject: {{ $in | ternary "enabled" "disabled" }}
{{- if $in }}
config.linkerd.io/skip-inbound-ports: {{ include "drctl.mesh.ports" (list $ 3306) | quote }}
config.linkerd.io/skip-outbound-ports: {{ include "drctl.mesh.ports" (list $ (include "drctl.database.port" $)) | quote }}
config.beta.linkerd.io/proxy-enable-native-sidecar: "true"
{{- end }}
{{- end }}
{{- end -}}

{{/* The port of the database, and with a standby that at which it serves the log: (list . port). */}}
{{- define "drctl.mesh.ports" -}}
{{ index . 1 }}{{ with include "drctl.standby.port" (index . 0) }},{{ . }}{{ end }}
{{- end -}}

{{/* The second network: (list . "component" address). */}}
{{- define "drctl.networks" -}}
{{- $ := index . 0 -}}
{{- $net := $.Values.backupNetwork -}}
{{- if $net.enabled }}
{{- $name := $net.attachment | default (printf "%s-backup" (include "drctl.fullname" $)) | splitList "/" -}}
{{- $one := dict "name" (last $name) -}}
{{- if gt (len $name) 1 }}{{ $_ := set $one "namespace" (first $name) }}{{ end -}}
{{- with index . 2 }}{{ $_ := set $one "ips" (list .) }}{{ end }}
k8s.v1.cni.cncf.io/networks: {{ list $one | toJson | quote }}
{{- end }}
{{- end -}}

{{- define "drctl.scrape" -}}
{{- $ := index . 0 -}}
{{- if and $.Values.monitoring.annotations (not $.Values.monitoring.serviceMonitor.enabled) }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ index . 1 | quote }}
prometheus.io/path: /metrics
{{- if eq $.Values.mesh.provider "istio" }}
# Otherwise the sidecar redirects Prometheus to its own port, which the network policy does not allow.
prometheus.istio.io/merge-metrics: "false"
{{- end }}
{{- end }}
{{- end -}}

{{/*
A pod of drctl, starting at `metadata`. A dict of
  root        the chart
  component   backup, verify, …
  values      the values of that component
  args        arguments of drctl
  job         whether it is the pod of a Job
  token       whether it uses the API server
  passwords   keys of the database's Secret
  annotations additional annotations, as YAML
  env         additional environment variables, as YAML
  serving     port of its metrics, if any
  affinity, tolerations   in addition to those of all pods
  grace       seconds between SIGTERM and SIGKILL, unless 30
*/}}
{{- define "drctl.pod" -}}
{{- $ := .root -}}
{{- $values := .values -}}
{{- $in := or (not .job) $.Values.mesh.jobs -}}
{{- $passwords := include "drctl.database.any" $ | empty | ternary list .passwords -}}
metadata:
  labels:
    {{- $mesh := include "drctl.mesh.labels" (list $ $in) | fromYaml }}
    {{- $velero := and .job $.Values.velero.exclude | ternary (dict "velero.io/exclude-from-backup" "true") dict }}
    {{- include "drctl.podLabels" (list $ .component $mesh $velero $.Values.drctl.podLabels $values.podLabels) | nindent 4 }}
  {{- $annotations := mergeOverwrite (include "drctl.mesh.annotations" (list $ $in) | fromYaml) (.annotations | default "" | fromYaml) (deepCopy $.Values.drctl.podAnnotations) (deepCopy $values.podAnnotations) }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "drctl.fullname" $ }}-{{ .account | default .component }}
  automountServiceAccountToken: {{ .token | default false }}
  enableServiceLinks: false
  restartPolicy: {{ .job | ternary "Never" "Always" }}
  terminationGracePeriodSeconds: {{ .grace | default 30 }}
  {{- include "drctl.pullSecrets" $ | nindent 2 }}
  {{- with $.Values.drctl.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $.Values.drctl.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat $.Values.drctl.tolerations (.tolerations | default list) }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with merge (.affinity | default dict) (deepCopy $.Values.drctl.affinity) }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "drctl.podSecurity" $.Values.drctl.runAsUser | nindent 4 }}
  {{- with $.Values.drctl.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: drctl
      image: {{ include "drctl.image" $ | quote }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      args:
        {{- toYaml .args | nindent 8 }}
      env:
        - name: TMPDIR
          value: /tmp
        - name: POD_NAME
          valueFrom:
            fieldRef: {fieldPath: metadata.name}
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef: {fieldPath: metadata.namespace}
        - name: POD_UID
          valueFrom:
            fieldRef: {fieldPath: metadata.uid}
        {{- with include "drctl.keys.env" (list $ .component) }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $.Values.drctl.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $secret := get $.Values.storeCredentials.perTask (.account | default .component) | default $.Values.storeCredentials.existingSecret }}
      {{- if and (not .storeless) (or $secret $.Values.drctl.extraEnvFrom) }}
      envFrom:
        {{- with $secret }}
        - secretRef:
            name: {{ . }}
        {{- end }}
        {{- with $.Values.drctl.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .serving }}
      ports:
        - {name: metrics, containerPort: {{ . }}, protocol: TCP}
      {{- end }}
      {{- with .probes }}
      {{- . | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- include "drctl.containerSecurity" . | nindent 8 }}
      # drctl writes its error line there; if it could not, the end of the log is used.
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts:
        - {name: config, mountPath: /etc/drctl, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- with include "drctl.keys.mounts" (list $ .component) }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if include "drctl.copy.secret" (list $ .component) }}
        - {name: other-store, mountPath: /run/secrets/other-store, readOnly: true}
        {{- end }}
        {{- if $passwords }}
        - {name: credentials, mountPath: /run/secrets/database, readOnly: true}
        {{- end }}
        {{- if and $passwords (include "drctl.database.tls" $) }}
        {{- include "drctl.database.tls.mount" $ | nindent 8 }}
        {{- end }}
        {{- with $.Values.drctl.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- if not .job }}
    {{- with $.Values.drctl.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "drctl.fullname" $ }}-config
    - name: tmp
      emptyDir:
        sizeLimit: {{ $.Values.drctl.tmpSize }}
    {{- with include "drctl.keys.volumes" (list $ .component) }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with include "drctl.copy.secret" (list $ .component) }}
    # A missing one is reported by drctl.
    - name: other-store
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        optional: true
        items:
          - {key: credentials, path: credentials}
    {{- end }}
    {{- with $passwords }}
    {{- include "drctl.credentials.volume" (prepend . $) | nindent 4 }}
    {{- if include "drctl.database.tls" $ }}
    {{- include "drctl.database.tls.volume" (list $ "ca.crt") | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with $.Values.drctl.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
A CronJob: the keys of "drctl.pod", and
  schedule, suspend, startingDeadlineSeconds
*/}}
{{- define "drctl.cronJob" -}}
{{- $ := .root -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "drctl.metadata" (list $ .component (printf "-%s" .component)) | nindent 2 }}
  {{- include "drctl.annotations" (list $ 0) | nindent 2 }}
spec:
  schedule: {{ .schedule | quote }}
  timeZone: {{ $.Values.timeZone | quote }}
  suspend: {{ .suspend }}
  # Requires the Job's deadline: without one, a hung Job would block all later ones forever. A Job whose node is gone
  # still does, until its pod is deleted (runbooks/DrctlJobStuck.md); two concurrent writers would be worse.
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {{ .startingDeadlineSeconds | int }}
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    metadata:
      labels:
        {{- include "drctl.labels" (list $ .component) | nindent 8 }}
    spec:
      activeDeadlineSeconds: {{ .values.deadlineSeconds | int }}
      backoffLimit: {{ .values.backoffLimit | int }}
      ttlSecondsAfterFinished: 604800
      podFailurePolicy:
        rules:
          # An eviction or a drain does not count as an attempt.
          - action: Ignore
            onPodConditions:
              - {type: DisruptionTarget, status: "True"}
          # A retry cannot fix these: usage, nothing to act on, archive, data, objective, refusal, another run.
          - action: FailJob
            onExitCodes:
              containerName: drctl
              operator: In
              values: [2, 3, 6, 7, 8, 9, 11]
      template:
        {{- include "drctl.pod" . | nindent 8 }}
{{- end -}}

{{/* Spread constraints count the pods of the component: (list . "component" constraints). */}}
{{- define "drctl.spread" -}}
{{- $labels := include "drctl.selector" (list (index . 0) (index . 1)) | fromYaml -}}
{{- range index . 2 }}
- {{ merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $labels)) | toJson }}
{{- end }}
{{- end -}}
