{{/* Labels that select the pods of one process. Takes a list: the root, the process. */}}
{{- define "rendezvous.selector" -}}
app.kubernetes.io/name: rendezvous
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* A setting as the processes read it: Helm turns `no` into false, and 1000000000 into 1e+09. */}}
{{- define "rendezvous.text" -}}
{{- if kindIs "bool" . }}{{ ternary "yes" "no" . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{- define "rendezvous.secret" -}}
{{ .Values.secret.existing | default .Release.Name }}
{{- end }}

{{/* Which variables of the secret a process reads. */}}
{{- define "rendezvous.secretNames" -}}
{{- $kafka := "KAFKA_URL KAFKA_USERNAME KAFKA_PASSWORD KAFKA_TRUSTED_CERT KAFKA_CLIENT_CERT KAFKA_CLIENT_CERT_KEY KAFKA_OAUTH_CLIENT_ID KAFKA_OAUTH_CLIENT_SECRET" }}
{{- $names := dict
  "responder" "REDIS_URL"
  "replies" "REDIS_URL SECRET_KEY SECRET_KEY_OLD"
  "web" "REDIS_URL SECRET_KEY SECRET_KEY_OLD API_KEYS" }}
{{- $kafka }} {{ index $names . }}
{{- end }}

{{- define "rendezvous.routes" -}}
{{- $routes := fromToml .Values.routes }}
{{- with $routes.Error }}{{ fail (printf "routes: %s" .) }}{{ end }}
{{- if not $routes.route }}{{ fail "routes has no [[route]]" }}{{ end }}
{{- toJson $routes.route }}
{{- end }}

{{/* The longest time that a client may wait, in whole seconds. */}}
{{- define "rendezvous.longestWait" -}}
{{- $longest := 0.0 }}
{{- range include "rendezvous.routes" . | fromJsonArray }}
{{- $longest = maxf $longest (coalesce .max_timeout_s .timeout_s $.Values.settings.REPLY_TIMEOUT_S) }}
{{- end }}
{{- ceil $longest }}
{{- end }}

{{/* What Kubernetes waits between SIGTERM and SIGKILL, in seconds. Takes a list: the root, the process. */}}
{{- define "rendezvous.gracePeriod" -}}
{{- $root := first . }}
{{- $longest := include "rendezvous.longestWait" $root | int }}
{{- if eq (last .) "web" }}
{{- /* graceful_timeout of gunicorn.conf.py is the longest wait and 2 s; then late clients are refused. */}}
{{- add (ceil $root.Values.settings.DRAIN_DELAY_S) $longest 2 3 }}
{{- else if eq (last .) "responder" }}
{{- $root.Values.responder.terminationGracePeriodSeconds | default (add $longest 15) }}
{{- else }}30{{ end }}
{{- end }}
