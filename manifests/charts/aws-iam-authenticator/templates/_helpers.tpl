{{/*
The name of every object. It is fixed: control planes, EKS Anywhere and people
know it.
*/}}
{{- define "authenticator.name" -}}
aws-iam-authenticator
{{- end }}

{{/*
The label that the DaemonSet selects its pods by. A selector cannot be changed
later.
*/}}
{{- define "authenticator.selectorLabels" -}}
k8s-app: aws-iam-authenticator
{{- end }}

{{- define "authenticator.labels" -}}
{{ include "authenticator.selectorLabels" . }}
app.kubernetes.io/name: {{ include "authenticator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/*
The configuration file. What is in .Values.config cannot replace the cluster ID,
nor where things are mounted.
*/}}
{{- define "authenticator.config" -}}
{{- $id := required "clusterID is required: the name tokens are made for" .Values.clusterID }}
{{- $fixed := dict "clusterID" $id "server" (dict "snapshotDir" (include "authenticator.snapshotDir" .)) }}
{{- if has "DynamicFile" .Values.backendModes }}
{{- $_ := set $fixed.server "dynamicfilepath" "/etc/aws-iam-authenticator-dynamic/mappings.json" }}
{{- end }}
{{- if dig "server" "sharePort" false .Values.config }}
{{- $_ := set $fixed.server "healthSocket" (include "authenticator.healthSocket" .) }}
{{- end }}
{{- toYaml (merge $fixed (deepCopy .Values.config)) }}
{{- end }}

{{/*
The node's directory for the last good mappings, of which there are none but
aws-auth's.
*/}}
{{- define "authenticator.snapshotHostPath" -}}
{{- if has "EKSConfigMap" .Values.backendModes }}{{ .Values.snapshot.hostPath }}{{ end }}
{{- end }}

{{/*
Where the container has them. On the node it is a directory within the one that is
mounted, which the kubelet makes and nobody gives away.
*/}}
{{- define "authenticator.snapshotDir" -}}
{{- if include "authenticator.snapshotHostPath" . -}}
/var/lib/capiam-authenticator/mappings
{{- else -}}
/var/cache/aws-iam-authenticator
{{- end }}
{{- end }}

{{/*
A socket is one pod's alone, wherever the mappings are.
*/}}
{{- define "authenticator.healthSocket" -}}
/var/cache/aws-iam-authenticator/health.sock
{{- end }}

{{- define "authenticator.tlsSecretName" -}}
{{- .Values.tls.existingSecret | default (include "authenticator.name" .) }}
{{- end }}

{{/*
Hosts that are reached without the proxy. The API server's address is one that
the kubelet fills in.
*/}}
{{- define "authenticator.noProxy" -}}
{{- concat (list "localhost" "127.0.0.1" "::1" ".svc" ".cluster.local" "$(KUBERNETES_SERVICE_HOST)") .Values.proxy.noProxy | uniq | join "," }}
{{- end }}

{{/*
A name for what binds a group to a ClusterRole: readable, short, and different
for different groups and roles. A binding's role cannot be changed later.
*/}}
{{- define "authenticator.bindingName" -}}
{{- $slug := regexReplaceAll "[^a-z0-9]+" (printf "%s-%s" .group .clusterRole | lower) "-" | trunc 60 | trimAll "-" }}
{{- printf "aws-iam-authenticator-%s-%s" $slug (printf "%s\n%s" .group .clusterRole | sha256sum | trunc 8) }}
{{- end }}
