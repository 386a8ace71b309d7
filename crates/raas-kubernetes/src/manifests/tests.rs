//! The manifests as a snapshot, and held to the schemas that a real cluster published.

mod chart;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use raas_base::Secret;
use raas_testkit::kubernetes::Schemas;

use super::*;
use crate::object::Kind;
use crate::plan::{Certificate, Entry, Instance, Namespace, Registry};
use crate::yaml;

fn plan() -> Plan {
    let file = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
    Plan {
        instance: Instance::Vendor("bigdatainc".parse().unwrap()),
        namespace: "mydomain".parse().unwrap(),
        image: "quay.example.com/raas@sha256:0123".into(),
        pull_secrets: Vec::new(),
        scale: Scale::Fixed(2),
        files: BTreeMap::from([file("raas.cfg", "[bigdatainc]\ns3_bucket = b\n"), file("token-key", "k")]),
        environment_secret: None,
        service_account: None,
        memory: 512,
        registries: vec![registry("bigdatainc", &[], None)],
        entry: Entry::Route,
        ingress_namespace: None,
        monitored: false,
    }
}

/// A plan with everything that a plan may have.
fn full(entry: Entry) -> Plan {
    Plan {
        pull_secrets: vec!["pull".into()],
        scale: Scale::Auto { min: 2, max: 5 },
        environment_secret: Some("keys".into()),
        registries: vec![registry(
            "bigdatainc",
            &["images.bigdatainc.com", "registry.bigdatainc.com"],
            Some(certificate()),
        )],
        entry,
        monitored: true,
        ..plan()
    }
}

fn registry(vendor: &str, hosts: &[&str], certificate: Option<Certificate>) -> Registry {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    Registry { vendor: vendor.parse().unwrap(), hosts, certificate }
}

fn certificate() -> Certificate {
    Certificate { chain: "CHAIN\n".into(), key: Secret::new("KEY\n") }
}

/// Two vendors in one deployment, by an ingress, which has objects of each vendor's own.
fn fleet() -> Plan {
    Plan {
        instance: Instance::Fleet,
        registries: vec![
            registry("acme", &["r.acme.com"], Some(certificate())),
            registry("bigdatainc", &["registry.bigdatainc.com"], None),
        ],
        memory: 2048,
        entry: Entry::Ingress(None),
        ..plan()
    }
}

fn plans() -> [(&'static str, Plan); 5] {
    let infra = Namespace::of_others("infra").unwrap();
    let gateway = Entry::Gateway { namespace: Some("infra".into()), name: "public".into() };
    [
        ("route", plan()),
        ("own-hosts", full(Entry::Route)),
        ("ingress", full(Entry::Ingress(Some("nginx".into())))),
        ("gateway", Plan { ingress_namespace: Some(infra), ..full(gateway) }),
        ("fleet", fleet()),
    ]
}

#[test]
fn the_manifests_are_as_recorded() {
    for (name, plan) in plans() {
        let file: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "src/manifests/tests", &format!("{name}.yaml")].iter().collect();
        let made = yaml::documents(&for_people(&plan));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &made).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        assert!(recorded == made, "{} differs; look at it after UPDATE=1 cargo test", file.display());
    }
}

#[test]
fn the_manifests_keep_the_schemas_of_a_real_cluster() {
    let schemas = Schemas::recorded();
    let mut checked = 0;
    for (name, plan) in plans() {
        for object in objects(&plan).into_iter().chain(for_people(&plan)) {
            // These come from operators, and their schemas from other places.
            if matches!(object.kind, Kind::HttpRoute | Kind::ServiceMonitor) {
                continue;
            }
            assert_eq!(schemas.check(&object.body), Ok(()), "{name}: {object:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 2 * (8 + 10 + 10 + 8 + 10));
    // The check finds faults.
    let mut deployment = workload::deployment(&plan()).body;
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always".into();
    assert!(schemas.check(&deployment).unwrap_err().contains("imagePulPolicy"));
}

#[test]
fn an_object_follows_what_it_refers_to_and_the_policy_comes_before_the_pods() {
    for (name, plan) in plans() {
        let kinds: Vec<Kind> = objects(&plan).iter().map(|object| object.kind).collect();
        assert!(kinds.is_sorted(), "{name}: {kinds:?}");
    }
    assert!(Kind::ALL.is_sorted());
}

#[test]
fn a_pod_fixes_no_user_and_gives_nothing_away() {
    let body = workload::deployment(&full(Entry::Route)).body;
    let text = body.to_string();
    for fixed in ["runAsUser", "runAsGroup", "fsGroup", "seLinuxOptions", "KEY", "hostUsers"] {
        assert!(!text.contains(fixed), "{fixed}");
    }
    assert_eq!(body["spec"].get("replicas"), None, "an autoscaler has the number");
    let grace = &body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    assert_eq!(grace, 50, "pre-stop, drain delay, requests in flight, and some room");
}

#[test]
fn a_change_of_the_configuration_rolls_out() {
    let version = |plan: &Plan| {
        workload::deployment(plan).body["spec"]["template"]["metadata"]["annotations"]
            ["raas-configuration-sha256"]
            .clone()
    };
    let mut changed = plan();
    changed.files.insert("raas.cfg".into(), Secret::new("[bigdatainc]\ns3_bucket = c\n"));
    assert_ne!(version(&plan()), version(&changed));
    assert_eq!(version(&plan()), version(&Plan { scale: Scale::Fixed(7), ..plan() }));
}

#[test]
fn snapshots_are_read_by_a_real_reader_of_yaml() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manifests/tests");
    for (name, plan) in plans() {
        let text = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let documents: Vec<&str> = text.split("---\n").skip(1).collect();
        let objects = for_people(&plan);
        assert_eq!(documents.len(), objects.len());
        for (document, object) in documents.into_iter().zip(objects) {
            let read: serde_json::Value = serde_saphyr::from_str(document).unwrap();
            assert_eq!(read, object.body, "{name}: {object:?}");
        }
    }
}
