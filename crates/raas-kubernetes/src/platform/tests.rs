//! The platform against the scripted cluster.

use std::cell::RefCell;
use std::collections::BTreeMap;

use raas_base::Secret;
use raas_platform::suite;
use raas_testkit::http::Reply;
use raas_testkit::kubernetes::Exchange;
use raas_testkit::kubernetes::cluster::{Cluster as Scripted, Fault, Permission, Rollout, TOKEN};
use serde_json::{Value, json};

use super::*;
use crate::access::Access;
use crate::observed::RolloutHealth;
use crate::plan::{Entry, Registry, Scale};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/mydomain/deployments/raas-bigdatainc";
const SERVICE: &str = "/api/v1/namespaces/mydomain/services/raas-bigdatainc";
const ROUTE: &str = "/apis/route.openshift.io/v1/namespaces/mydomain/routes/raas-bigdatainc";
const HPA: &str = "/apis/autoscaling/v2/namespaces/mydomain/horizontalpodautoscalers/raas-bigdatainc";

fn vendor() -> VendorName {
    "bigdatainc".parse().unwrap()
}

fn plan(facts: &Facts) -> Plan {
    Plan {
        instance: Instance::Vendor(vendor()),
        namespace: "mydomain".parse().unwrap(),
        image: "quay.example.com/raas@sha256:0123".into(),
        pull_secrets: Vec::new(),
        scale: Scale::Fixed(2),
        files: BTreeMap::from([("raas.cfg".into(), Secret::new("[bigdatainc]\ns3_bucket = hunter2\n"))]),
        environment_secret: None,
        service_account: None,
        memory: 512,
        registries: vec![Registry {
            vendor: vendor(),
            hosts: if facts.has_routes { Vec::new() } else { vec!["r.example.com".parse().unwrap()] },
            certificate: None,
        }],
        entry: if facts.has_routes { Entry::Route } else { Entry::Ingress(None) },
        ingress_namespace: None,
        monitored: facts.has_monitors,
    }
}

fn access(scripted: &Scripted, token: &str) -> Access {
    // The scripted API has no TLS, and reading the machine's certificates takes its time.
    Access {
        server_url: Some(scripted.url()),
        token: Some(Secret::new(token)),
        insecure: true,
        ..Access::default()
    }
}

/// The platform on a scripted cluster, with a plan that is changed in this way.
fn platform_with(scripted: &Scripted, change: impl Fn(&mut Plan) + 'static) -> Kubernetes<'static> {
    let mut cluster = access(scripted, TOKEN).open().unwrap();
    cluster.api.hurry(Duration::from_secs(3));
    let planner = move |facts: &Facts| {
        let mut plan = plan(facts);
        change(&mut plan);
        Ok(plan)
    };
    let mut platform = instance(cluster, "mydomain", Box::new(planner));
    let (short, poll) = (Duration::from_millis(50), Duration::from_millis(1));
    platform.patience = Patience { rollout: short, admission: short, retry: short, poll };
    platform.revision_timeout = short;
    platform
}

fn instance<'a>(cluster: Cluster, namespace: &str, planner: Box<Planner<'a>>) -> Kubernetes<'a> {
    Kubernetes::new(cluster, namespace.parse().unwrap(), Instance::Vendor(vendor()), planner)
}

fn platform(scripted: &Scripted) -> Kubernetes<'static> {
    platform_with(scripted, |_| {})
}

/// Sets up, and gives what was said.
fn ensure(platform: &Kubernetes<'_>) -> Result<(Ensured, Vec<String>), Failure> {
    let said = RefCell::new(Vec::new());
    let ensured = platform.ensure(&vendor(), &|line| said.borrow_mut().push(line.to_owned()))?;
    Ok((ensured, said.take()))
}

struct Stage {
    scripted: Scripted,
    platform: Kubernetes<'static>,
}

impl suite::Stage for Stage {
    fn platform(&self) -> &dyn Platform {
        &self.platform
    }

    fn start_servers(&self) {}

    fn serve(&self, revision: &str) {
        self.scripted.serve(revision);
    }

    fn makes_things(&self) -> bool {
        true
    }
}

#[test]
fn openshift_and_kubernetes_keep_the_promises() {
    for scripted in [Scripted::openshift as fn() -> Scripted, Scripted::kubernetes] {
        suite::run(|| {
            let scripted = scripted();
            let platform = platform(&scripted);
            Stage { scripted, platform }
        });
    }
}

#[test]
fn a_setup_makes_everything_in_order_and_a_second_one_sends_the_same_and_changes_nothing() {
    let scripted = Scripted::openshift();
    let platform = platform(&scripted);
    let (ensured, said) = ensure(&platform).unwrap();
    assert_eq!(ensured.servers.len(), 2);
    assert!(said.contains(&"+ Deployment raas-bigdatainc".to_owned()), "{said:?}");
    assert_eq!(said.last().unwrap(), "2 servers answer at https://raas-bigdatainc-mydomain.apps.example.com");
    let resources: Vec<String> = scripted
        .changes()
        .iter()
        .map(|request| request.split(['/', '?']).rev().nth(2).unwrap().to_owned())
        .collect();
    let order = [
        "serviceaccounts",
        "secrets",
        "configmaps",
        "networkpolicies",
        "services",
        "poddisruptionbudgets",
        "deployments",
        "routes",
        "servicemonitors",
    ];
    assert_eq!(resources, order);
    assert!(scripted.changes().iter().all(|request| request.ends_with("?fieldManager=raas")));
    let versions = |scripted: &Scripted| -> Vec<_> {
        let objects = scripted.paths().into_iter().map(|path| scripted.object(&path).unwrap());
        objects.map(|object| object["metadata"]["resourceVersion"].clone()).collect()
    };
    let before = versions(&scripted);
    let (again, said) = ensure(&platform).unwrap();
    assert!(!again.changed);
    assert_eq!(versions(&scripted), before);
    assert!(said[0].starts_with("Nothing changed in project mydomain on http://127.0.0.1:"), "{said:?}");
}

#[test]
fn a_preview_names_fields_and_changes_nothing() {
    let scripted = Scripted::openshift();
    ensure(&platform(&scripted)).unwrap();
    scripted.forget_requests();
    let changed = platform_with(&scripted, |plan| {
        plan.image = "quay.example.com/raas@sha256:4567".into();
        plan.files.insert("raas.cfg".into(), Secret::new("[bigdatainc]\ns3_bucket = swordfish\n"));
    });
    let before: Vec<_> = scripted.paths().iter().map(|path| scripted.object(path)).collect();
    let preview = changed.preview().unwrap();
    let lines: Vec<String> = preview.changes.iter().flat_map(Change::lines).collect();
    assert_eq!(preview.changes.len(), 2, "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("raas.cfg: \"***\"") || line.contains("raas.cfg: *** → ***")),
        "{lines:?}"
    );
    let image = "containers[name=\"raas\"].image: \"quay.example.com/raas@sha256:0123\" → \"quay.example.com/raas@sha256:4567\"";
    assert!(lines.iter().any(|line| line.ends_with(image)), "{lines:?}");
    assert!(
        scripted.changes().iter().all(|request| request.ends_with("&dryRun=All")),
        "{:?}",
        scripted.changes()
    );
    let after: Vec<_> = scripted.paths().iter().map(|path| scripted.object(path)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_conflict_is_shown_by_field_and_not_forced() {
    let scripted = Scripted::openshift();
    ensure(&platform(&scripted)).unwrap();
    let (pointer, field) =
        ("/spec/template/spec/containers/0/image", ".spec.template.spec.containers[name=\"raas\"].image");
    scripted.edit(DEPLOYMENT, "kubectl-edit", pointer, field, json!("other:1"));
    let failure = ensure(&platform(&scripted)).unwrap_err();
    assert_eq!(failure.message(), "cannot apply Deployment raas-bigdatainc in mydomain");
    assert_eq!(
        failure.causes(),
        [format!("somebody else manages {field} (conflict with `kubectl-edit` using apps/v1)")]
    );
    assert_eq!(scripted.object(DEPLOYMENT).unwrap().pointer(pointer), Some(&json!("other:1")));
}

#[test]
fn an_object_of_somebody_else_is_left_alone() {
    let scripted = Scripted::openshift();
    scripted.add(SERVICE, json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "raas-bigdatainc" }, "spec": { "type": "NodePort" },
    }));
    let before = scripted.object(SERVICE);
    let failure = ensure(&platform(&scripted)).unwrap_err();
    assert!(failure.message().contains("Service raas-bigdatainc is in mydomain already"), "{failure}");
    assert_eq!(scripted.object(SERVICE), before);
    // Nor is it removed, even with the labels.
    platform(&scripted).remove(&vendor(), &|_| {}).unwrap();
    assert_eq!(scripted.paths(), [SERVICE]);
}

#[test]
fn an_autoscaler_takes_the_number_of_servers_over_and_gives_it_back() {
    let scripted = Scripted::openshift();
    ensure(&platform_with(&scripted, |plan| plan.scale = Scale::Fixed(3))).unwrap();
    let replicas = || scripted.object(DEPLOYMENT).unwrap()["spec"]["replicas"].clone();
    let scaled = platform_with(&scripted, |plan| plan.scale = Scale::Auto { min: 2, max: 5 });
    let expected = [Change::Created("HorizontalPodAutoscaler raas-bigdatainc".into())];
    assert_eq!(scaled.preview().unwrap().changes, expected, "nor does a preview say that it falls");
    ensure(&scaled).unwrap();
    assert_eq!(replicas(), 3, "the number never falls on the way");
    assert!(scripted.object(HPA).is_some());
    let again =
        ensure(&platform_with(&scripted, |plan| plan.scale = Scale::Auto { min: 2, max: 5 })).unwrap();
    assert!(!again.0.changed);
    scripted.edit(DEPLOYMENT, "kube-controller-manager", "/spec/replicas", ".spec.replicas", json!(5));
    let (_, said) = ensure(&platform_with(&scripted, |plan| plan.scale = Scale::Fixed(2))).unwrap();
    assert_eq!(replicas(), 2);
    assert_eq!(said[0], "- HorizontalPodAutoscaler raas-bigdatainc");
    assert_eq!(scripted.object(HPA), None);
    // A person who scales by hand is not overruled.
    scripted.edit(DEPLOYMENT, "kubectl", "/spec/replicas", ".spec.replicas", json!(7));
    let failure = ensure(&platform(&scripted)).unwrap_err();
    assert!(
        failure.causes()[0].contains(".spec.replicas (conflict with `kubectl` using apps/v1)"),
        "{failure}"
    );
}

#[test]
fn a_route_that_the_plan_has_no_more_is_removed() {
    let scripted = Scripted::openshift();
    ensure(&platform(&scripted)).unwrap();
    assert!(scripted.object(ROUTE).is_some());
    let own = |plan: &mut Plan| plan.registries[0].hosts = vec!["registry.bigdatainc.com".parse().unwrap()];
    let (_, said) = ensure(&platform_with(&scripted, own)).unwrap();
    assert!(said.contains(&"+ Route raas-bigdatainc.registry.bigdatainc.com".to_owned()), "{said:?}");
    assert!(said.contains(&"- Route raas-bigdatainc".to_owned()), "{said:?}");
    assert_eq!(scripted.object(ROUTE), None);
}

#[test]
fn a_killed_setup_is_finished_by_the_next_one() {
    // The connection is cut after each request that changes something, as if the run was killed there.
    for n in 1..=9 {
        let scripted = Scripted::openshift();
        let platform = platform(&scripted);
        let down = Reply::new(
            500,
            r#"{"kind":"Status","message":"etcd is away","reason":"InternalError","code":500}"#,
        );
        let resources = [
            "serviceaccounts/",
            "secrets/",
            "configmaps/",
            "networkpolicies/",
            "services/",
            "poddisruptionbudgets/",
            "deployments/",
            "routes/",
            "servicemonitors/",
        ];
        scripted.fault("PATCH", resources[n - 1], 4, Fault::Answer(down));
        let failure = ensure(&platform).unwrap_err();
        assert!(failure.causes()[0].contains("etcd is away"), "{failure}");
        ensure(&platform).unwrap();
        assert!(!ensure(&platform).unwrap().0.changed);
        assert_eq!(scripted.paths().len(), 9);
    }
}

#[test]
fn a_setup_before_the_first_publication_ends_and_says_what_the_servers_wait_for() {
    let scripted = Scripted::openshift();
    scripted.set_rollout(Rollout::Unpublished);
    let (ensured, said) = ensure(&platform(&scripted)).unwrap();
    assert!(ensured.servers.len() == 2 && ensured.servers.iter().all(|server| !server.is_ready));
    let last = "2 servers run, and answer at https://raas-bigdatainc-mydomain.apps.example.com as soon as something is \
                published";
    assert_eq!(said.last().unwrap(), last);
    // A server that is not ready for another reason fails the setup, and so does one that cannot be asked.
    scripted.set_rollout(Rollout::NotReady("Readiness probe failed: 503".into()));
    assert!(ensure(&platform(&scripted)).unwrap_err().message().contains("do not start"));
    // A quota that keeps a server out is a failure, even though the other one only waits for a publication.
    let over_quota =
        "pods \"raas-bigdatainc-7df94f5596-9hbfm\" is forbidden: exceeded quota: q, requested: pods=1";
    scripted.set_rollout(Rollout::UnpublishedInPart(over_quota.into()));
    let failure = ensure(&platform(&scripted)).unwrap_err();
    assert_eq!(
        failure.causes(),
        [over_quota],
        "each pod that was tried has an event, and one line is enough"
    );
    // An old server proves that something was published: the bucket has lost its pointer.
    scripted.set_rollout(Rollout::LostPointer);
    assert!(ensure(&platform(&scripted)).unwrap_err().message().contains("do not start"));
    scripted.set_rollout(Rollout::Unpublished);
    for (verb, resource) in [("get", "pods/proxy"), ("list", "pods")] {
        scripted.forbid(verb, resource);
        let failure = ensure(&platform(&scripted)).unwrap_err();
        let rule = format!("{{apiGroups: [\"\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}");
        assert!(failure.hints()[0].ends_with(&rule), "{failure}");
    }
}

#[test]
fn the_fleet_has_one_deployment_and_a_way_in_for_each_vendor() {
    let scripted = Scripted::openshift();
    let cluster = access(&scripted, TOKEN).open().unwrap();
    let planner = |facts: &Facts| {
        let registry = |name: &str| Registry {
            vendor: name.parse().unwrap(),
            hosts: vec![format!("r.{name}.com").parse().unwrap()],
            certificate: None,
        };
        let cfg = Secret::new("[aws]\n[acme]\ns3_bucket = a\n[other]\ns3_bucket = o\n");
        Ok(Plan {
            instance: Instance::Fleet,
            files: BTreeMap::from([("raas.cfg".into(), cfg)]),
            registries: vec![registry("acme"), registry("other")],
            ..plan(facts)
        })
    };
    let fleet = Kubernetes::new(cluster, "mydomain".parse().unwrap(), Instance::Fleet, Box::new(planner));
    // A vendor with servers of its own beside the fleet.
    let beside = platform(&scripted);
    ensure(&beside).unwrap();
    let (ensured, _) = ensure(&fleet).unwrap();
    assert!(!ensure(&fleet).unwrap().0.changed && !ensure(&beside).unwrap().0.changed);
    for name in ["acme", "other"] {
        let site = fleet.site(&ensured.servers[0], &name.parse().unwrap()).unwrap();
        assert_eq!(site.vendor.as_str(), name);
    }
    assert!(fleet.site(&ensured.servers[0], &vendor()).unwrap_err().message().contains("does not serve"));
    let looked = fleet.look().unwrap();
    let hosts: Vec<&str> = looked.entrances.iter().map(|entrance| entrance.host.as_str()).collect();
    assert_eq!(hosts, ["r.acme.com", "r.other.com"]);
    fleet.remove(&vendor(), &|_| {}).unwrap();
    assert!(scripted.paths().iter().all(|path| path.contains("raas-bigdatainc")), "{:?}", scripted.paths());
    assert_eq!(scripted.paths().len(), 9);
}

#[test]
fn a_look_says_what_is_missing() {
    let scripted = Scripted::openshift();
    let missing = platform(&scripted).look().unwrap();
    assert!(
        missing.has_namespace && missing.rollout == RolloutHealth::Missing && missing.entrances.is_empty()
    );
    ensure(&platform(&scripted)).unwrap();
    let good = platform(&scripted).look().unwrap();
    assert_eq!((good.rollout, good.entrances.len()), (RolloutHealth::Done(2), 1));
    scripted.refuse_routes("HostAlreadyClaimed", "route other already exposes h and is older");
    scripted.set_rollout(Rollout::NotReady("x".into()));
    let bad = platform(&scripted).look().unwrap();
    assert!(matches!(bad.rollout, RolloutHealth::Failed(reason) if reason.contains("timed out progressing")));
    assert!(bad.entrances[0].refusal.as_ref().unwrap().starts_with("HostAlreadyClaimed: "));
    let cluster = access(&scripted, TOKEN).open().unwrap();
    let nowhere = instance(cluster, "nowhere", Box::new(|facts: &Facts| Ok(plan(facts))));
    assert!(!nowhere.look().unwrap().has_namespace);
}

#[test]
fn passing_trouble_of_the_api_server_is_waited_out() {
    let scripted = Scripted::openshift();
    let busy =
        Reply::new(429, r#"{"kind":"Status","message":"too many requests","reason":"TooManyRequests"}"#);
    scripted.fault("PATCH", "/services/", 2, Fault::Answer(busy));
    scripted.fault("PATCH", "/deployments/", 1, Fault::Cut);
    scripted.fault("GET", "/deployments/", 1, Fault::Cut);
    ensure(&platform(&scripted)).unwrap();
    assert!(!ensure(&platform(&scripted)).unwrap().0.changed);
}

#[test]
fn an_unknown_field_is_no_reason_to_try_again() {
    let scripted = Scripted::openshift();
    scripted.fault("PATCH", "/deployments/", 1, Fault::Answer(Exchange::recorded("16-unknown-field").reply));
    let failure = ensure(&platform(&scripted)).unwrap_err();
    assert!(failure.hints()[0].contains("update the cluster"), "{failure}");
}

#[test]
fn a_hanging_api_server_is_an_error_in_time() {
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let access = Access {
        server_url: Some(format!("http://{}", hanging.local_addr().unwrap())),
        token: Some(Secret::new("t")),
        ..Access::default()
    };
    let mut cluster = access.open().unwrap();
    cluster.api.hurry(Duration::from_millis(50));
    let failure = cluster.facts().unwrap_err();
    assert!(failure.to_string().contains("no answer of the API server"), "{failure}");
}

#[test]
fn wrong_credentials_and_missing_projects_are_explained() {
    let scripted = Scripted::openshift();
    let wrong = access(&scripted, "expired").open().unwrap();
    let failure = wrong.facts().unwrap_err();
    assert!(
        failure.hints()[0].contains("auth_token") && !failure.to_string().contains("expired"),
        "{failure}"
    );

    let elsewhere = |create| {
        let cluster = access(&scripted, TOKEN).open().unwrap();
        let planner = |facts: &Facts| Ok(Plan { namespace: "fresh".parse().unwrap(), ..plan(facts) });
        let mut platform = instance(cluster, "fresh", Box::new(planner)).creating(create);
        platform.patience.poll = Duration::from_millis(1);
        platform
    };
    let failure = ensure(&elsewhere(false)).unwrap_err();
    assert!(failure.message().starts_with("the project fresh is not on http://"), "{failure}");
    assert!(failure.hints()[0].contains("--create"), "{failure}");
    let preview = elsewhere(true).preview().unwrap();
    assert!(preview.needs_namespace && !scripted.has_namespace("fresh"));
    let (ensured, said) = ensure(&elsewhere(true)).unwrap();
    assert!(ensured.changed && scripted.has_namespace("fresh"));
    assert_eq!(said[0], "Project fresh is there");

    scripted.delete_namespace("fresh");
    for create in [true, false] {
        let failure = ensure(&elsewhere(create)).unwrap_err();
        assert!(failure.message().ends_with("is being deleted"), "{failure}");
    }

    let refusing = Scripted::openshift();
    refusing.forbid_projects();
    let cluster = access(&refusing, TOKEN).open().unwrap();
    let planner = |facts: &Facts| Ok(Plan { namespace: "fresh".parse().unwrap(), ..plan(facts) });
    let refused = instance(cluster, "fresh", Box::new(planner)).creating(true);
    let failure = ensure(&refused).unwrap_err();
    assert!(failure.hints()[0].contains("oc adm new-project fresh"), "{failure}");
}

#[test]
fn each_missing_permission_is_named_with_its_rule() {
    let resources = [
        ("", "serviceaccounts"),
        ("", "secrets"),
        ("", "configmaps"),
        ("networking.k8s.io", "networkpolicies"),
        ("", "services"),
        ("policy", "poddisruptionbudgets"),
        ("apps", "deployments"),
        ("route.openshift.io", "routes"),
    ];
    for (group, resource) in resources {
        for verb in ["get", "list", "patch"] {
            let scripted = Scripted::openshift();
            scripted.forbid(verb, resource);
            let failure = ensure(&platform(&scripted)).unwrap_err();
            let rule =
                format!("{{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}");
            assert!(failure.hints()[0].ends_with(&rule), "{verb} {resource}: {failure}");
        }
    }
    let scripted = Scripted::openshift();
    ensure(&platform(&scripted)).unwrap();
    scripted.forbid("delete", "routes");
    let failure = platform(&scripted).remove(&vendor(), &|_| {}).unwrap_err();
    assert!(failure.hints()[0].contains("verbs: [\"delete\"]"), "{failure}");
}

/// The rules of deploy/rbac.yaml, one permission each.
fn permissions_of_the_file() -> Vec<Permission> {
    let text = include_str!("../../../../deploy/rbac.yaml");
    let role = text.split("---\n").find(|document| document.contains("kind: Role\n")).unwrap();
    let role: Value = serde_saphyr::from_str(role).unwrap();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut permissions = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                let verbs = list(&rule["verbs"]).into_iter();
                permissions.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    permissions
}

#[test]
fn the_permissions_of_the_file_suffice_and_each_missing_one_is_named() {
    let all = permissions_of_the_file();
    // Set up with every kind of object, look, break, take away.
    let everything = |granted: Vec<Permission>| -> Result<Vec<Server>, Failure> {
        let scripted = Scripted::openshift();
        scripted.grant_only(granted);
        let auto = |plan: &mut Plan| {
            plan.scale = Scale::Auto { min: 2, max: 5 };
            plan.registries[0].hosts = vec!["registry.bigdatainc.com".parse().unwrap()];
        };
        ensure(&platform_with(&scripted, auto))?;
        let platform = platform(&scripted);
        ensure(&platform)?;
        let servers = platform.observe(&vendor())?;
        platform.site(&servers[0], &vendor())?;
        platform.look()?;
        platform.remove(&vendor(), &|_| {})?;
        Ok(servers)
    };
    assert_eq!(everything(all.clone()).unwrap().len(), 2);
    for missing in &all {
        let (group, resource, verb) = missing;
        let left: Vec<Permission> = all.iter().filter(|one| *one != missing).cloned().collect();
        match everything(left) {
            // A project that may not be read is taken for a missing one.
            Err(failure) if resource == "namespaces" => {
                assert!(failure.hints()[1].contains("oc adm policy add-role-to-user view"), "{failure}");
            }
            // OpenShift does not say which of the two verbs is missing.
            Err(failure) if resource == "routes/custom-host" => {
                let rule = "resources: [\"routes/custom-host\"], verbs: [\"create\", \"update\"]}";
                assert!(failure.hints()[0].ends_with(rule), "{failure}");
            }
            Err(failure) => {
                let rule =
                    format!("{{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}");
                assert!(failure.hints()[0].ends_with(&rule), "{missing:?}: {failure}");
            }
            // Kinds that OpenShift does not need, parts that only refusals and failures need.
            Ok(_) => {
                let optional = ["httproutes", "ingresses", "routes/custom-host", "events", "pods/log"];
                assert!(optional.contains(&resource.as_str()), "{missing:?} is not needed");
            }
        }
    }
}

#[test]
fn each_failed_rollout_is_explained() {
    let waiting = |reason: &str, message: &str, log: &str| Rollout::Waiting {
        reason: reason.into(),
        message: message.into(),
        log: log.into(),
    };
    let scc = "pods \"raas-\" is forbidden: unable to validate against any security context constraint: [provider \
               restricted-v2: .containers[0].runAsUser: Invalid value: 65532]";
    let table = [
        (
            waiting("ImagePullBackOff", "Back-off pulling image", ""),
            "ImagePullBackOff: Back-off",
            "`cartridge`",
        ),
        (
            waiting("CrashLoopBackOff", "back-off 10s", "no bucket\nbye\n"),
            "    no bucket\n    bye",
            "oc logs",
        ),
        (waiting("CreateContainerConfigError", "secret \"keys\" not found", ""), "keys", "`server_secret`"),
        (Rollout::NoPod(scc.into()), "security context constraint", "add-scc-to-user"),
        (Rollout::NoPod("exceeded quota: q, requested: pods=1".into()), "requested: pods=1", "larger quota"),
        (Rollout::NoPod("failed quota: q: must specify limits.cpu".into()), "limits.cpu", "LimitRange"),
        (
            Rollout::NoPod(
                "error looking up service account mydomain/x: serviceaccount \"x\" not found".into(),
            ),
            "not found",
            "`service_account`",
        ),
        (Rollout::NotReady("Readiness probe failed: 503".into()), "Readiness probe failed", "the bucket"),
        (Rollout::Stuck, "the cluster says nothing", "oc describe pods"),
    ];
    for (rollout, cause, hint) in table {
        let scripted = Scripted::openshift();
        scripted.set_rollout(rollout);
        let failure = ensure(&platform(&scripted)).unwrap_err();
        let text = failure.to_string();
        assert!(failure.message().contains("the earlier ones, if there are any, keep serving"), "{text}");
        assert!(text.contains(cause), "{cause}: {text}");
        assert!(failure.hints()[0].contains(hint), "{hint}: {text}");
        assert!(!text.contains("other pod's own trouble"), "{text}");
    }
}

#[test]
fn the_recorded_pods_and_events_of_a_broken_rollout_are_explained() {
    let body = |name: &str| serde_json::from_slice(&Exchange::recorded(name).reply.body).unwrap();
    let plan = plan(&Facts::default());
    // The recorded objects are called `raas`.
    let rename = |value: Value| -> Value {
        serde_json::from_str(&value.to_string().replace("\"raas-", "\"raas-bigdatainc-")).unwrap()
    };
    let evidence = crate::trouble::Evidence::of(
        &plan,
        &json!({}),
        &rename(body("31-pods-of-broken-rollout")),
        &rename(body("32-events")),
    );
    let failure = crate::trouble::diagnose(&plan, &evidence);
    let text = failure.to_string();
    assert!(text.contains("ErrImagePull: rpc error: code = NotFound"), "{text}");
    assert!(failure.hints()[0].contains("`cartridge`"), "{text}");
}

#[test]
fn a_pod_that_no_node_takes_is_explained_before_older_events() {
    let plan = plan(&Facts::default());
    // As Kubernetes 1.36 writes them: the scheduler's events have a time of another field.
    let why = "0/1 nodes are available: 1 node(s) were unschedulable.";
    let pods = json!({ "items": [{ "metadata": { "name": "raas-bigdatainc-1" }, "status": { "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why },
    ] } }] });
    let event = |reason: &str, message: &str, last: Value, time: Value| {
        json!({
            "reason": reason, "message": message, "lastTimestamp": last, "eventTime": time,
            "involvedObject": { "name": "raas-bigdatainc-1" },
        })
    };
    let older: Vec<Value> = (0..8)
        .map(|n| event("Unhealthy", &format!("probe {n}"), "2026-11-30T04:30:00Z".into(), Value::Null))
        .collect();
    let scheduler = event("FailedScheduling", "no room", Value::Null, "2026-11-30T04:35:20.123456Z".into());
    for pods in [pods, json!({})] {
        let events = json!({ "items": older.iter().chain([&scheduler]).collect::<Vec<_>>() });
        let evidence = crate::trouble::Evidence::of(&plan, &json!({}), &pods, &events);
        assert!(evidence.messages[0].starts_with("FailedScheduling"), "{:?}", evidence.messages);
        let failure = crate::trouble::diagnose(&plan, &evidence);
        assert!(failure.hints()[0].contains("room on the nodes"), "{failure}");
    }
}

#[test]
fn a_setup_after_the_cause_is_gone_does_not_wait_for_the_cluster_to_try_again() {
    let scripted = Scripted::openshift();
    scripted.set_rollout(Rollout::NoPod("exceeded quota: q, requested: pods=1".into()));
    ensure(&platform(&scripted)).unwrap_err();
    scripted.set_rollout(Rollout::LateAgain);
    let (ensured, _) = ensure(&platform(&scripted)).unwrap();
    assert_eq!((ensured.servers.len(), ensured.changed), (2, false));
    assert!(!ensure(&platform(&scripted)).unwrap().0.changed);
}

#[test]
fn a_refused_route_is_explained() {
    let table = [
        ("HostAlreadyClaimed", "route other already exposes h and is older", "another host"),
        ("ExtendedValidationFailed", "spec.tls.key: Invalid value", "`tls_certificate`"),
        ("RouteNotAdmitted", "not mine", "which router"),
    ];
    for (reason, message, hint) in table {
        let scripted = Scripted::openshift();
        scripted.refuse_routes(reason, message);
        let failure = ensure(&platform(&scripted)).unwrap_err();
        assert_eq!(failure.causes(), [format!("{reason}: {message}")]);
        assert!(failure.hints()[0].contains(hint), "{failure}");
    }
    let forbidden = Scripted::openshift();
    forbidden.fault(
        "PATCH",
        "/routes/",
        1,
        Fault::Answer(Exchange::recorded("11-route-host-forbidden").reply),
    );
    let failure = ensure(&platform(&forbidden)).unwrap_err();
    assert!(failure.hints()[0].contains("routes/custom-host"), "{failure}");
}

#[test]
fn no_secret_is_in_an_error_or_in_what_is_said() {
    let scripted = Scripted::openshift();
    let platform = platform(&scripted);
    let (_, said) = ensure(&platform).unwrap();
    scripted.forbid("patch", "secrets");
    let failure = ensure(&platform_with(&scripted, |_| {})).unwrap_err();
    let text = format!("{said:?}{failure}{failure:?}{:?}", plan(&Facts::default()));
    for secret in ["hunter2", TOKEN, "aHVudGVyMg"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_token_goes_to_no_other_machine_in_the_clear() {
    let access = Access {
        server_url: Some("http://api.example.com:6443".into()),
        token: Some(Secret::new("hunter2")),
        ..Access::default()
    };
    let failure = access.open().err().unwrap();
    assert!(failure.message().contains("plain http"), "{failure}");
    let nobody = Access { server_url: Some("https://api.example.com:6443".into()), ..Access::default() };
    assert!(nobody.open().err().unwrap().hints()[0].contains("set `auth_token`"));
}
