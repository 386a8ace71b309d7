//! The templates of the Helm chart in `deploy/chart`: the manifests with words in place of settings, and each word replaced
//! by what Helm puts there. So the chart has every field that `raas setup` applies.

use std::fs;
use std::path::Path;

use super::*;

/// The manifests of a plan whose settings are words that occur nowhere else.
fn marked(entry: Entry) -> Vec<Object> {
    let file = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
    let hosted = |vendor: &str| Registry {
        vendor: vendor.parse().unwrap(),
        hosts: vec!["chart.host".parse().unwrap()],
        certificate: Some(Certificate { chain: "chart-chain".into(), key: Secret::new("chart-key") }),
    };
    for_people(&Plan {
        instance: Instance::Vendor("chart-vendor".parse().unwrap()),
        image: "chart-image".into(),
        pull_secrets: vec!["chart-pull-secret".into()],
        scale: Scale::Auto { min: 71, max: 72 },
        files: BTreeMap::from([file("raas.cfg", "chart-config"), file("token-key", "chart-token-key")]),
        environment_secret: Some("chart-environment".into()),
        memory: 1116,
        registries: vec![hosted("chart-vendor")],
        entry,
        ingress_namespace: Some("chart-entrance".parse().unwrap()),
        monitored: true,
        ..plan()
    })
}

/// A template: the manifest of an object, with these replacements.
fn template(object: &Object, more: &[(&str, &str)]) -> String {
    let mut text = yaml::document(&object.body);
    let common = [
        ("managed-by: raas\n", "managed-by: {{ $.Release.Service }}\n"),
        ("raas-chart-vendor", "{{ include \"raas.name\" $ }}"),
    ];
    for (from, to) in more.iter().chain(&common) {
        assert!(text.contains(from), "{from:?} is not in {object:?}:\n{text}");
        text = text.replace(from, to);
    }
    assert!(!text.contains("chart-"), "a setting is left in {object:?}:\n{text}");
    text
}

/// A template that stands only under a condition.
fn when(condition: &str, template: &str) -> String {
    format!("{{{{- if {condition} }}}}\n{template}{{{{- end }}}}\n")
}

/// A template for each vendor, called `$registry`.
fn for_each_vendor(template: &str) -> String {
    format!("{{{{- range $registry := $.Values.registries }}}}\n---\n{template}{{{{- end }}}}\n")
}

/// The templates by their file names.
fn templates() -> Vec<(&'static str, String)> {
    let (route, ingress) = (marked(Entry::Route), marked(Entry::Ingress(Some("chart-class".into()))));
    let gateway =
        marked(Entry::Gateway { namespace: Some("chart-space".into()), name: "chart-gateway".into() });
    let unhosted = for_people(&Plan {
        instance: Instance::Vendor("chart-vendor".parse().unwrap()),
        registries: vec![registry("chart-vendor", &[], None)],
        ..plan()
    });

    let deployment = of_kind(&route, Kind::Deployment);
    let version = deployment.body["spec"]["template"]["metadata"]["annotations"]["raas-configuration-sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    let version = format!("\"{version}\"");
    let version = if yaml::document(&deployment.body).contains(&version) {
        version
    } else {
        version.trim_matches('"').to_owned()
    };
    let deployment = template(
        deployment,
        &[
            (&version, "{{ include \"raas.configuration\" $ }}"),
            (
                "spec:\n  progressDeadlineSeconds",
                "spec:\n  {{- if not $.Values.autoscaling.enabled }}\n  replicas: {{ $.Values.servers }}\n  {{- end }}\n  \
                 progressDeadlineSeconds",
            ),
            (
                "        - chart-vendor\n",
                "        {{- with $.Values.vendor }}\n        - {{ . | quote }}\n        {{- end }}\n",
            ),
            (
                "        - secretRef:\n            name: chart-environment\n",
                "        {{- with $.Values.environmentSecret }}\n        - secretRef:\n            name: {{ . | quote }}\n        \
                 {{- end }}\n",
            ),
            ("image: chart-image", "image: {{ required \"set image\" $.Values.image | quote }}"),
            ("\"1116Mi\"", "\"{{ $.Values.memory }}Mi\""),
            (
                "      imagePullSecrets:\n      - name: chart-pull-secret\n",
                "      {{- with $.Values.imagePullSecrets }}\n      imagePullSecrets:\n      {{- range . }}\n      - name: \
                 {{ . | quote }}\n      {{- end }}\n      {{- end }}\n",
            ),
            (
                "serviceAccountName: raas-chart-vendor",
                "serviceAccountName: {{ $.Values.serviceAccount | default (include \"raas.name\" $) }}",
            ),
        ],
    );
    let secret = template(
        of_kind(&route, Kind::Secret),
        &[
            ("raas.cfg: chart-config\n", "raas.cfg: {{ required \"set config\" $.Values.config | quote }}\n"),
            (
                "  token-key: chart-token-key\n",
                "  token-key: {{ include \"raas.tokenKey\" $ | quote }}\n  {{- range $name, $content := $.Values.files }}\n  \
                 {{ $name }}: {{ $content | quote }}\n  {{- end }}\n",
            ),
        ],
    );
    let policy = [
        template(of_kind(&route, Kind::NetworkPolicy), &[]),
        template(
            of_kind(&ingress, Kind::NetworkPolicy),
            &[(
                "  - from:\n    - namespaceSelector:\n        matchLabels:\n          kubernetes.io/metadata.name: \
                 chart-entrance\n    ports:\n",
                "  {{- with $.Values.ingressNamespace }}\n  - from:\n    - namespaceSelector:\n        matchLabels:\n          \
                 kubernetes.io/metadata.name: {{ . | quote }}\n    ports:\n  {{- else }}\n  - ports:\n  {{- end }}\n",
            )],
        ),
    ];
    let host = ("chart.host", "{{ $host }}");
    let hosted = template(
        of_kind(&route, Kind::Route),
        &[
            host,
            (
                "    certificate: chart-chain\n",
                "    {{- if $registry.certificate }}\n    certificate: {{ $registry.certificate | quote }}\n    {{- end }}\n",
            ),
            (
                "    key: chart-key\n",
                "    {{- if $registry.key }}\n    key: {{ $registry.key | quote }}\n    {{- end }}\n",
            ),
        ],
    );
    let hosted = for_each_vendor("").replace(
        "---\n",
        &format!("{{{{- range $host := $registry.hosts }}}}\n---\n{hosted}{{{{- end }}}}\n"),
    );
    let without_host = when("not $.Values.registries", &template(of_kind(&unhosted, Kind::Route), &[]));
    let entry_name =
        "{{ include \"raas.name\" $ }}{{ if not $.Values.vendor }}.{{ $registry.vendor }}{{ end }}";
    let name = format!("name: {entry_name}\n  labels");
    let rules = (
        "  - host: chart.host\n",
        "  {{- range $host := $registry.hosts }}\n  - host: {{ $host | quote }}\n",
    );
    let certificate =
        ingress.iter().find(|object| object.kind == Kind::Secret && object.name.ends_with("-tls")).unwrap();
    let certificate = template(
        certificate,
        &[
            ("name: raas-chart-vendor-tls", &format!("name: {entry_name}-tls")),
            ("tls.crt: chart-chain", "tls.crt: {{ $registry.certificate | quote }}"),
            ("tls.key: chart-key", "tls.key: {{ $registry.key | quote }}"),
        ],
    );
    let ingress_object = template(
        of_kind(&ingress, Kind::Ingress),
        &[
            ("name: raas-chart-vendor\n  labels", &name),
            (
                "  ingressClassName: chart-class\n",
                "  {{- with $.Values.ingressClass }}\n  ingressClassName: {{ . | quote }}\n  {{- end }}\n",
            ),
            rules,
            (
                "  tls:\n  - hosts:\n    - chart.host\n    secretName: raas-chart-vendor-tls\n",
                &format!(
                    "  {{{{- end }}}}\n  {{{{- if $registry.certificate }}}}\n  tls:\n  - hosts: {{{{ toJson $registry.hosts \
                     }}}}\n    secretName: {entry_name}-tls\n  {{{{- end }}}}\n"
                ),
            ),
        ],
    );
    let gateway_object = template(
        of_kind(&gateway, Kind::HttpRoute),
        &[
            ("name: raas-chart-vendor\n  labels", &name),
            ("  hostnames:\n  - chart.host\n", "  hostnames: {{ toJson $registry.hosts }}\n"),
            (
                "name: chart-gateway",
                "name: {{ required \"set gateway.name\" $.Values.gateway.name | quote }}",
            ),
            (
                "    namespace: chart-space\n",
                "    {{- with $.Values.gateway.namespace }}\n    namespace: {{ . | quote }}\n    {{- end }}\n",
            ),
        ],
    );
    let certificates = for_each_vendor(&when("$registry.certificate", &certificate));
    vec![
        (
            "serviceaccount.yaml",
            when("not $.Values.serviceAccount", &template(of_kind(&route, Kind::ServiceAccount), &[])),
        ),
        ("secret.yaml", secret),
        (
            "configmap.yaml",
            template(
                of_kind(&route, Kind::ConfigMap),
                &[("\"837\"", "{{ include \"raas.siteMemory\" $ | quote }}")],
            ),
        ),
        (
            "networkpolicy.yaml",
            format!(
                "{{{{- if eq $.Values.entry \"route\" }}}}\n{}{{{{- else }}}}\n{}{{{{- end }}}}\n",
                policy[0], policy[1]
            ),
        ),
        ("service.yaml", template(of_kind(&route, Kind::Service), &[])),
        ("poddisruptionbudget.yaml", template(of_kind(&route, Kind::PodDisruptionBudget), &[])),
        ("deployment.yaml", deployment),
        (
            "horizontalpodautoscaler.yaml",
            when(
                "$.Values.autoscaling.enabled",
                &template(
                    of_kind(&route, Kind::HorizontalPodAutoscaler),
                    &[
                        ("minReplicas: 71", "minReplicas: {{ $.Values.autoscaling.min }}"),
                        ("maxReplicas: 72", "maxReplicas: {{ $.Values.autoscaling.max }}"),
                    ],
                ),
            ),
        ),
        ("route.yaml", when("eq $.Values.entry \"route\"", &format!("{without_host}{hosted}"))),
        (
            "ingress.yaml",
            when(
                "eq $.Values.entry \"ingress\"",
                &format!("{certificates}{}", for_each_vendor(&ingress_object)),
            ),
        ),
        ("httproute.yaml", when("eq $.Values.entry \"gateway\"", &for_each_vendor(&gateway_object))),
        (
            "servicemonitor.yaml",
            when("$.Values.monitor", &template(of_kind(&route, Kind::ServiceMonitor), &[])),
        ),
    ]
}

fn of_kind(objects: &[Object], kind: Kind) -> &Object {
    objects.iter().find(|object| object.kind == kind).unwrap()
}

#[test]
fn the_chart_is_as_the_manifests_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart/templates");
    let made = templates();
    for (name, text) in &made {
        let file = folder.join(name);
        let text = format!(
            "{{{{- /* Made of the manifests of raas: UPDATE=1 cargo test -p raas-kubernetes chart */ -}}}}\n{text}"
        );
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        assert!(recorded == text, "{} differs; look at it after UPDATE=1 cargo test", file.display());
    }
    let files = fs::read_dir(&folder).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "yaml")
    });
    assert_eq!(files.count(), made.len(), "a template that no manifest makes");
}
