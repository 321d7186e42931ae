{{- /* Names: NAME of the release, NAME-ID of a subarray, with short ends since pods add to them. */ -}}
{{- define "queue-connector.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 24 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{- define "queue-connector.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "queue-connector.labels" -}}
{{ include "queue-connector.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* A subarray, all that is to be known of it, as JSON: takes the root and the entry. */ -}}
{{- define "queue-connector.subarray" -}}
{{- $root := index . 0 -}}
{{- $entry := index . 1 -}}
{{- $values := $root.Values -}}
{{- $where := printf "subarrays: %s" $entry.id -}}
{{- if and (hasKey $entry "configuration") $entry.configPath -}}
{{- fail (printf "%s: give configuration or configPath, not both" $where) -}}
{{- end -}}
{{- if and (not (hasKey $entry "configuration")) (not $values.configDatabase.host) -}}
{{- fail (printf "%s: give configuration, or configDatabase.host to read one from" $where) -}}
{{- end -}}
{{- if not $values.tango.host -}}
{{- if $entry.standby -}}
{{- fail (printf "%s: standby needs tango.host, as it is a property of the device" $where) -}}
{{- end -}}
{{- if $entry.properties -}}
{{- fail (printf "%s: properties need tango.host, which holds them" $where) -}}
{{- end -}}
{{- end -}}
{{- if and $entry.standby (hasKey $entry "configuration") -}}
{{- fail (printf "%s: standby needs configPath, or flows, in place of configuration: in the configuration database the two agree who streams" $where) -}}
{{- end -}}
{{- $name := printf "%s-%s" (include "queue-connector.name" $root) (lower $entry.id) -}}
{{- $device := $entry.device | default (replace "{}" $entry.id $values.deviceName) -}}
{{- $properties := dict "metrics_port" ($values.metrics.port | toString) "metrics_host" "0.0.0.0" -}}
{{- if hasKey $entry "configuration" -}}
{{- $_ := set $properties "exchanges_json" (include "queue-connector.configuration" $entry) -}}
{{- else -}}
{{- $_ := set $properties "subarray_id" $entry.id -}}
{{- with $entry.configPath }}{{ $_ := set $properties "exchanges_config_path" . }}{{ end -}}
{{- end -}}
{{- range $key, $value := $entry.properties -}}
{{- $_ := set $properties $key (ternary $value (toString $value) (kindIs "slice" $value)) -}}
{{- end -}}
{{- $servers := dict (printf "%s-0" $name) (dict $device $properties) -}}
{{- if $entry.standby -}}
{{- $both := merge (dict "standby" "true") $properties -}}
{{- $servers = dict (printf "%s-0" $name) (dict $device $both) (printf "%s-1" $name) (dict (printf "%s-standby" $device) $both) -}}
{{- end -}}
{{- dict "name" $name "device" $device "servers" $servers "replicas" (ternary 2 1 (default false $entry.standby)) "stopGrace" ($properties.stop_grace | default "10") | toJson -}}
{{- end -}}

{{- /* The configuration of a subarray as a file has it; a text, as --set-file gives it, is one. */ -}}
{{- define "queue-connector.configuration" -}}
{{- if kindIs "string" .configuration }}{{ .configuration }}{{ else }}{{ toJson .configuration }}{{ end -}}
{{- end -}}

{{- /* What all containers have: the image, and no right that they can do without. */ -}}
{{- define "queue-connector.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "queue-connector.environment" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
{{- with .Values.tango }}
{{- if .host }}
- {name: TANGO_HOST, value: {{ .host | quote }}}
- {name: TANGO_ZMQ_EVENT_PORT, value: {{ .eventPort | quote }}}
- {name: TANGO_ZMQ_HEARTBEAT_PORT, value: {{ add1 .eventPort | quote }}}
{{- end }}
{{- end }}
{{- with .Values.configDatabase }}
{{- if .host }}
- {name: SDP_CONFIG_BACKEND, value: etcd3}
- {name: SDP_CONFIG_HOST, value: {{ .host | quote }}}
- {name: SDP_CONFIG_PORT, value: {{ .port | quote }}}
- {name: SDP_CONFIG_PROTOCOL, value: {{ .protocol | quote }}}
{{- if .username }}
- {name: SDP_CONFIG_USERNAME, value: {{ .username | quote }}}
- {name: SDP_CONFIG_PASSWORD, valueFrom: {secretKeyRef: {{ toJson .passwordSecret }}}}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $secret := .Values.secretVariables }}
- {name: {{ $name }}, valueFrom: {secretKeyRef: {{ toJson $secret }}}}
{{- end }}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}
