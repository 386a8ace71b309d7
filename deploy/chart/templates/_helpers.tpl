{{/* The name of the objects. */}}
{{- define "raas.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* The key of tokens: the given one, or the one of the last installation, or a new one. */}}
{{- define "raas.tokenKey" -}}
{{- $last := lookup "v1" "Secret" .Release.Namespace (include "raas.name" .) -}}
{{- if .Values.tokenKey -}}
{{- .Values.tokenKey -}}
{{- else if and $last $last.data (index $last.data "token-key") -}}
{{- index $last.data "token-key" | b64dec -}}
{{- else -}}
{{- randAlphaNum 64 | sha256sum -}}
{{- end -}}
{{- end -}}

{{/* A change of what the servers read rolls out. */}}
{{- define "raas.configuration" -}}
{{- printf "%s %s %s %v" .Values.config (toJson .Values.files) .Values.tokenKey .Values.memory | sha256sum -}}
{{- end -}}

{{/* How much memory the metadata of one vendor may take: see `raas serve --site-memory`. */}}
{{- define "raas.siteMemory" -}}
{{- $quarter := div (int .Values.memory) 4 -}}
{{- if .Values.vendor }}{{ mul $quarter 3 }}{{ else }}{{ $quarter }}{{ end -}}
{{- end -}}
